# The image of ei-gateway-server. Built by container/build.sh from the project's root folder.
ARG BASE_IMAGE=docker.io/library/debian:trixie-slim

FROM ${BASE_IMAGE} AS dashboard
ARG NPM_CONFIG_REGISTRY
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends ca-certificates nodejs npm >/dev/null
WORKDIR /source/spa
COPY spa/package.json spa/package-lock.json ./
RUN npm ci --no-audit --no-fund --loglevel=error
COPY apps/elastic_inference/flows/gateway/openapi.json /source/apps/elastic_inference/flows/gateway/
COPY spa ./
RUN npm run build

FROM ${BASE_IMAGE} AS build
COPY container/stages /stages
RUN /stages/system-root.sh /system
ARG PIP_INDEX_URL
COPY container/locks/gateway.txt container/locks/build.txt /locks/
RUN /stages/packages.sh /locks/gateway.txt /packages
COPY setup.py pyproject.toml README.md /source/
COPY apps /source/apps
COPY --from=dashboard /source/apps/elastic_inference/flows/gateway/dashboard \
    /source/apps/elastic_inference/flows/gateway/dashboard
RUN /stages/application.sh /source /application
COPY spa/package-lock.json /locks/
RUN mkdir -p /application/var/lib/db/sbom && \
    python3 /stages/sbom.py ei-gateway-server /system /packages /application --npm /locks/package-lock.json \
    >/application/var/lib/db/sbom/ei-gateway-server.cdx.json

# where housekeeping keeps cameras.yaml, if a volume is mounted there
RUN install -d -m 700 /state

FROM scratch
COPY --from=build /system /
COPY --from=build /packages /
COPY --from=build /application /
COPY --from=build --chown=10001:10001 /state /var/lib/ei
ENV PATH=/opt/ei/bin:/usr/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    METRICS_PORT=8000
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-m", "elastic_inference.commands.healthcheck"]
ENTRYPOINT ["ei-gateway-server"]
# smoke test: the build fails if an import is missing
RUN ["python", "-c", "import elastic_inference.flows.gateway.gateway_service"]
RUN ["python", "-c", "import elastic_inference.flows.housekeeping.housekeeping_service"]
RUN ["python", "-c", "import elastic_inference.flows.cameras.camera_controller"]
# values that change with every build come last, so that the layers above stay cached
ARG VERSION=0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="Elastic Inference gateway" \
    org.opencontainers.image.description="Dashboard, REST API and the public side of the websockets" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}"
