# The operator's image: docker build --tag registry.example.com/ops/pluginrelease-operator:0.1.0 .
# Pin the base for a release: --build-arg PYTHON=python:3.14-slim@sha256:…
ARG PYTHON=python:3.14-slim

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/operator.txt requirements/build.txt /src/requirements/
# one environment to build with, another one to ship; both from hash-checked pins, compiled packages as wheels only
RUN python3 -m venv /build && /build/bin/pip install --require-hashes --no-deps --requirement /src/requirements/build.txt \
 && /build/bin/pip check \
 && python3 -m venv /opt/pluginrelease \
 && /opt/pluginrelease/bin/pip install --require-hashes --no-deps --no-compile --only-binary :all: --requirement /src/requirements/operator.txt
COPY . /src
# more than half of all is the Kubernetes client, of which little is imported; its second run imports all of that again
RUN cd /src && /build/bin/python -m hatchling build --target wheel --directory /dist \
 && /opt/pluginrelease/bin/pip install --no-deps --no-index --no-compile /dist/*.whl \
 && /opt/pluginrelease/bin/pip check \
 && /opt/pluginrelease/bin/pip uninstall --yes pip \
 && /opt/pluginrelease/bin/python /src/image/prune.py \
 && /opt/pluginrelease/bin/python /src/image/prune.py \
 && /opt/pluginrelease/bin/pluginrelease --version
# bytecode that no file time can make stale: the running image cannot write another
RUN /opt/pluginrelease/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/pluginrelease/lib

FROM ${PYTHON}
# the root file system is read-only in the cluster: nothing is compiled or cached at run time but in /tmp
ENV PATH=/opt/pluginrelease/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
LABEL org.opencontainers.image.title="pluginrelease-operator" \
      org.opencontainers.image.description="Takes a WebAssembly plugin from an image to seen running in every Envoy gateway pod" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/pluginrelease /opt/pluginrelease
# python's own images come without bytecode: without this, each start would compile what it imports of the standard library
RUN PYTHONDONTWRITEBYTECODE= pluginrelease run --help > /dev/null
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["pluginrelease"]
CMD ["run"]
