# The image of ei-websocket-server. Built by container/build.sh from the project's root folder.
ARG BASE_IMAGE=docker.io/library/debian:trixie-slim

FROM ${BASE_IMAGE} AS build
COPY container/stages /stages
# the font of the labels in annotated frames
RUN /stages/system-root.sh /system fonts-dejavu-core
ARG PIP_INDEX_URL
COPY container/locks/websocket.txt container/locks/build.txt /locks/
RUN /stages/packages.sh /locks/websocket.txt /packages
COPY setup.py pyproject.toml README.md /source/
COPY apps /source/apps
RUN /stages/application.sh /source /application
RUN mkdir -p /application/var/lib/db/sbom && \
    python3 /stages/sbom.py ei-websocket-server /system /packages /application \
    >/application/var/lib/db/sbom/ei-websocket-server.cdx.json

FROM scratch
COPY --from=build /system /
COPY --from=build /packages /
COPY --from=build /application /
ENV PATH=/opt/ei/bin:/usr/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    METRICS_PORT=8000
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 31611
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-m", "elastic_inference.commands.healthcheck"]
ENTRYPOINT ["ei-websocket-server"]
# smoke test: the build fails if an import is missing
RUN ["python", "-c", "import elastic_inference.flows.relay.websocket_service, numpy, PIL.ImageFont, simplejpeg"]
# values that change with every build come last, so that the layers above stay cached
ARG VERSION=0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="Elastic Inference websocket server" \
    org.opencontainers.image.description="Sends results to viewers" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}"
