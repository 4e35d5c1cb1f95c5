# The image of ei-inference-service. Built by container/build.sh from the project's root folder.
ARG BASE_IMAGE=docker.io/library/debian:trixie-slim

FROM ${BASE_IMAGE} AS build
COPY container/stages /stages
# additional Debian packages with their dependencies, such as the drivers of a GPU: doc/deployment.md
ARG EXTRA_PACKAGES=
# OpenCV needs LAPACK, see packages.sh; libturbojpeg decodes frames (doc/adr/0026-frames-resized-by-plane.md)
RUN /stages/system-root.sh /system libblas3 liblapack3 libgfortran5 libturbojpeg0 ${EXTRA_PACKAGES}
ARG PIP_INDEX_URL
COPY container/locks/inference.txt container/locks/model-api.txt container/locks/build.txt /locks/
RUN cat /locks/model-api.txt >>/locks/inference.txt && /stages/packages.sh /locks/inference.txt /packages
COPY setup.py pyproject.toml README.md /source/
COPY apps /source/apps
RUN /stages/application.sh /source /application
RUN mkdir -p /application/var/lib/db/sbom && \
    python3 /stages/sbom.py ei-inference-service /system /packages /application \
    >/application/var/lib/db/sbom/ei-inference-service.cdx.json

FROM scratch
COPY --from=build /system /
COPY --from=build /packages /
COPY build/models /opt/ei/models
COPY --from=build /application /
ENV PATH=/opt/ei/bin:/usr/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    METRICS_PORT=8000 \
    INFER_MODEL_PATH=/opt/ei/models \
    MODEL_COMPILED_DIR=/opt/ei/compiled
# for nodes whose CPU is of the same kind as that of this machine; the others compile at the start of a pod
RUN ["python", "-m", "elastic_inference.commands.compile_models", "/opt/ei/models", "/opt/ei/compiled"]
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-m", "elastic_inference.commands.healthcheck"]
ENTRYPOINT ["ei-inference-service"]
# smoke test: the build fails if an import is missing
RUN ["python", "-c", "import elastic_inference.flows.inference.inference_service, openvino, cv2, simplejpeg"]
RUN ["python", "-c", "from elastic_inference.adapters import jpeg_planes; assert jpeg_planes.available()"]
# values that change with every build come last, so that the layers above stay cached
ARG VERSION=0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="Elastic Inference inference" \
    org.opencontainers.image.description="Takes frames from the queue, infers with OpenVINO, publishes results" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}"
