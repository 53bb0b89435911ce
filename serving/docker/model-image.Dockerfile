# One model's versions in an image, for the init container of kubernetes/components/model-image:
#
#   docker build -f serving/docker/model-image.Dockerfile -t registry.example.com/photos:1 models
#
# The image's tag is then the model's version: what runs can't change, and `kubectl rollout undo`
# goes back.
FROM busybox:1.37
COPY . /models
