# A machine with NVIDIA GPUs and their driver; JAX's packages bring CUDA.
#
#   docker build --tag gpt1_jax .
#   docker run --gpus=all --volume="$PWD/runs:/gpt1_jax/runs" gpt1_jax --config=pretrain:tiny --config.data.path=...
#
# EXTRA=cuda13 is for drivers of CUDA 13. Slurm with pyxis: enroot import dockerd://gpt1_jax makes the .sqsh file that
# launch/slurm.sbatch takes as CONTAINER.
FROM python:3.12-slim-bookworm
ARG EXTRA=cuda
WORKDIR /gpt1_jax
COPY README.md LICENSE pyproject.toml requirements-lock.txt ./
COPY configs configs
COPY gpt1_jax gpt1_jax
RUN pip install --no-cache-dir -c requirements-lock.txt -e ".[$EXTRA]"
ENTRYPOINT ["gpt1"]
