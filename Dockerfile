# One program, two images: `cpu` for the scheduler, the command line and workers without a GPU, `cuda` for workers with
# one. They differ in torch: its default wheels carry CUDA, so the second needs nothing but NVIDIA's driver on the host.
# Not built where it was written: docs/deployment.md says what was checked.
FROM python:3.11.14-slim-bookworm AS source

RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 flowcert \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/flowcert flowcert \
    && install -d -o flowcert -g flowcert /var/lib/flowcert
# Nothing is written outside the data directory and /tmp, so that the rest may be read-only.
ENV FLOWCERT_DATA_DIR=/var/lib/flowcert HOME=/var/lib/flowcert MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/flowcert
COPY pyproject.toml constraints.txt README.md ./
COPY common common
COPY scheduler scheduler
COPY worker worker
COPY migrations migrations
# An init forwards signals and reaps decoders that outlive their worker.
ENTRYPOINT ["tini", "--"]
CMD ["flowcert", "--help"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=30s --retries=3 CMD ["flowcert", "db", "check"]

FROM source AS cuda
RUN pip install -c constraints.txt .
# What NVIDIA's container runtime is to provide: the driver for computing, and nvidia-smi to list GPUs.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# The source folder would shadow the installed packages.
WORKDIR /var/lib/flowcert
USER 10001:10001

FROM source AS cpu
# Say --build-arg PIP_EXTRA_INDEX_URL=... to take torch from an index of CPU-only wheels, which are far smaller.
ARG PIP_EXTRA_INDEX_URL=""
RUN pip install -c constraints.txt .
WORKDIR /var/lib/flowcert
USER 10001:10001
