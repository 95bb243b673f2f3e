FROM python:3.13-slim AS build
RUN python -m venv /opt/postroom
ENV PATH=/opt/postroom/bin:$PATH
COPY requirements-image.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements-image.lock
COPY . /src
RUN pip install --no-cache-dir --no-deps --no-build-isolation /src \
    && pip uninstall --yes setuptools pip

FROM python:3.13-slim
RUN useradd --system --no-create-home --uid 10001 postroom
COPY --from=build /opt/postroom /opt/postroom
ENV PATH=/opt/postroom/bin:$PATH PYTHONUNBUFFERED=1
# agents.toml is mounted here.
WORKDIR /srv/postroom
USER postroom
CMD ["python", "-m", "app.local.processes", "web"]
