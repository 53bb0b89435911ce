"""Sources of images, one reader a file: folders, tables, arrays, TFRecords, named data sets."""
