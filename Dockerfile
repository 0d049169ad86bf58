# One CPU image for the scheduler, the workers and the command line. Not built on the machine it was written on.
FROM python:3.11-slim

# Say --build-arg PIP_EXTRA_INDEX_URL=... to take torch from an index of CPU-only wheels, which are far smaller.
ARG PIP_EXTRA_INDEX_URL=""

WORKDIR /opt/flowcert
COPY pyproject.toml constraints.txt README.md ./
COPY common common
COPY scheduler scheduler
COPY worker worker
COPY migrations migrations
RUN pip install --no-cache-dir -c constraints.txt . \
    && useradd --system --uid 10001 --no-create-home flowcert \
    && install -d -o flowcert -g flowcert /var/lib/flowcert

# The source folder would shadow the installed packages.
WORKDIR /var/lib/flowcert
USER flowcert
ENV FLOWCERT_DATA_DIR=/var/lib/flowcert PYTHONUNBUFFERED=1
CMD ["flowcert", "--help"]
