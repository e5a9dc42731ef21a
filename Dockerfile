# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS builder
WORKDIR /build
COPY . .
# The compiled dependencies stay in the cache between builds; the binary is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --release -p laneway \
    && install -D target/release/laneway /out/laneway

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/laneway --create-home laneway
COPY --from=builder /out/laneway /usr/local/bin/laneway
USER laneway
# What the embedded default stores is below the working folder.
WORKDIR /var/lib/laneway
VOLUME /var/lib/laneway
EXPOSE 8080
ENTRYPOINT ["laneway"]
CMD ["all"]
