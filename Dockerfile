# One project's engine in a container; README.md, "In a container", says how to run it.
FROM python:3.12-slim

COPY pyproject.toml README.md LICENSE constraints.txt /src/
COPY aisquad_core /src/aisquad_core
COPY aisquad_tui /src/aisquad_tui
RUN pip install --no-cache-dir -c /src/constraints.txt /src && rm -r /src

# Whoever owns the project's files, since the engine writes its state beside them.
ARG UID=1000
RUN useradd --create-home --uid "$UID" aisquad && install -d -o aisquad /project
USER aisquad
WORKDIR /project
VOLUME /project

# `docker stop` sends SIGTERM and kills after 10 s: what runs is asked to end, killed after 5 s, and
# is back in the queue before that. All of it ends with the container, so nothing is left running.
STOPSIGNAL SIGTERM
ENV AI_SQUAD_GRACE_SECONDS=5

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD aisquad status --check || exit 1
CMD ["aisquad", "up", "--foreground"]
