"""Sources of images, one reader a file; :func:`open_source` knows them all."""

from keras_inception.data.sources.source import Source as Source
from keras_inception.data.sources.source import open_source as open_source
