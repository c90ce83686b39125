# syntax=docker/dockerfile:1
# The sandbox as a container, for tests in any language. Built from the root of the repository:
#     docker build -f packaging/docker/sandbox.Dockerfile -t gptimage-sandbox .
#     docker run --rm -p 127.0.0.1:8080:8080 gptimage-sandbox
# Options follow the image's name:
#     docker run --rm -p 127.0.0.1:8080:8080 gptimage-sandbox --fail cut=0.02 --seed 7

FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# hadolint ignore=DL3013  # what is installed is this very source; its bounds are in pyproject.toml
RUN pip install --no-cache-dir --prefix=/install .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="gptimage-sandbox" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /install /usr/local
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# It writes nothing, needs no key and reaches no other host: any user will do, but root.
USER 65534:65534
WORKDIR /tmp
EXPOSE 8080
# As the first process of a container Python ignores SIGTERM; SIGINT ends it as Ctrl-C does.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=3s --retries=10 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/__sandbox/requests')"]
# All addresses: a port that is published reaches the container from outside.
ENTRYPOINT ["gptimage", "sandbox", "--host", "0.0.0.0", "--port", "8080"]
