"""Cameras as Kubernetes custom resources: `cameras.elastic-inference.io`.

`schema` makes the resource's definition from `CameraSpec`; `resource` turns objects into specifications and back;
`kubernetes_store` talks to the API server. Called by the camera controller and by the manifests' generator.
"""
