# Two stages: the toolchain builds, and only the binary is shipped.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY config config
COPY src src
RUN cargo build --profile dist --locked --bin musterd

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="musterd" \
      org.opencontainers.image.description="A service registry daemon with a message broker inside it" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/target/dist/musterd /usr/local/bin/musterd
# Inside a container, loopback would be unreachable from outside of it.
ENV MUSTERD__HTTP__LISTEN=0.0.0.0:8000 MUSTERD__BROKER__LISTEN=0.0.0.0:5672
# Its first start writes an admin token to /var/lib/musterd/admin-token and logs it once.
ENV MUSTERD__SECURITY__AUTH=on
# Owned by the user of the daemon; mount a volume here to keep it.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/musterd
ENV MUSTERD__STORE__PATH=/var/lib/musterd
VOLUME /var/lib/musterd
USER 65532:65532
EXPOSE 8000 5672
HEALTHCHECK --interval=10s --timeout=5s --start-period=2s CMD ["musterd", "health"]
ENTRYPOINT ["musterd"]
