# A cell's image with packages besides: the folder packages/ of the context goes where its Python looks for such.
ARG CELL_IMAGE=natscope-sandbox:dev
FROM ${CELL_IMAGE}
USER 0:0
COPY packages /tmp/packages
RUN python3 -c "import shutil, site; shutil.copytree('/tmp/packages', site.getsitepackages()[0], dirs_exist_ok=True)" \
 && rm -rf /tmp/packages \
 && chmod -R a+rX,go-w "$(python3 -c 'import site; print(site.getsitepackages()[0])')"
USER 1000:1000
