# The Afforo image: one binary on Debian, without root. It builds with BuildKit and with the classic builder.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# Build the dependencies in a separate layer, which Docker rebuilds only if Cargo.toml, Cargo.lock, .cargo or crates
# change. Cargo needs a package to build dependencies, so an empty one replaces Afforo. It is cleaned afterwards,
# because cargo compares timestamps and would consider the empty package newer than the source of an older checkout.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN mkdir src \
    && echo '//! Empty.' | tee src/lib.rs > src/main.rs \
    && echo 'fn main() {}' >> src/main.rs \
    && cargo build --locked --profile dist \
    && cargo clean --profile dist --package afforo \
    && rm -r src

# Build Afforo. `.sqlx` describes the database, so the build needs none. The binary contains the migrations and the
# pages of the console; askama.toml configures the template folder.
COPY askama.toml ./
COPY .sqlx .sqlx
COPY migrations migrations
COPY src src
RUN cargo build --locked --profile dist


FROM debian:bookworm-slim

LABEL org.opencontainers.image.title="Afforo" \
      org.opencontainers.image.description="Inventory and order service: stock per store, orders placed atomically against it" \
      org.opencontainers.image.licenses="MIT"

# The image needs no other files: the binary contains the TLS root certificates, and the time zone is UTC.
COPY --from=build /build/target/dist/afforo /usr/local/bin/afforo

# The image listens on all interfaces, so it defaults to production mode.
ENV DEBUG=False

# A numeric user, so that Kubernetes can verify `runAsNonRoot`. The user owns no files and needs no entry in
# /etc/passwd.
USER 10001:10001

EXPOSE 8000

# The check queries /health/ on port 8000 of this container. The start period leaves time for migrations, because the
# server listens only after them. Disable the check for a worker: it does not listen.
HEALTHCHECK --interval=5s --timeout=5s --start-period=5m --retries=3 CMD ["afforo", "healthcheck"]

# No entry point, so that `docker run afforo afforo seed` has the same form as `docker-compose exec web afforo seed`.
CMD ["afforo", "serve", "0.0.0.0:8000"]
