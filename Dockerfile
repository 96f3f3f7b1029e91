# The same image as `make image`, for those who build with a daemon: the same script fills it.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libclang-dev libssl-dev pkg-config
COPY . /src
WORKDIR /src
ARG SOURCE_DATE_EPOCH=0
RUN hack/image.sh --rootfs /rootfs

FROM scratch
COPY --from=build /rootfs /
ENV PATH=/usr/bin
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/bin/managed-hsm-operator"]
CMD ["run"]
