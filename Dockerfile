# One image for the four services: `fnbus gateway|registry|executor|scheduler`.

FROM python:3.13-slim-trixie AS build
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
RUN python -m venv /opt/fnbus && /opt/fnbus/bin/pip install --no-cache-dir --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY libs libs
COPY services services
COPY cli cli
RUN /opt/fnbus/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-trixie
# The sandbox, and the languages that functions are written in; Python, Node and Deno come with the environment above. Rust has
# to be 1.85 or later (Debian 13 has that), and needs a linker; composer installs what PHP functions declare.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap ca-certificates cargo composer gcc libc6-dev php-cli \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/fnbus --create-home fnbus
COPY --from=build /opt/fnbus /opt/fnbus
ENV PATH=/opt/fnbus/bin:$PATH PYTHONUNBUFFERED=1
USER fnbus
WORKDIR /var/lib/fnbus
VOLUME /var/lib/fnbus
EXPOSE 8080 9090
CMD ["fnbus", "--help"]
