# The image of Afforo: one binary on Debian, without root. It builds with BuildKit and with the classic builder.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies, in a layer of their own: it is built again when Cargo.toml or Cargo.lock change, not with every
# change of the source. Cargo builds them only for a package, so an empty one stands in for Afforo, and is removed
# again: cargo compares times, and would take the empty one for newer than the source of an older checkout.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN mkdir src \
    && echo '//! Empty.' | tee src/lib.rs > src/main.rs \
    && echo 'fn main() {}' >> src/main.rs \
    && cargo build --locked --profile dist \
    && cargo clean --profile dist --package afforo \
    && rm -r src

# Afforo. `.sqlx` describes the database, so that the build needs none; the migrations become part of the binary, and so
# do the pages of the console, which askama.toml says where to find.
COPY askama.toml ./
COPY .sqlx .sqlx
COPY migrations migrations
COPY src src
RUN cargo build --locked --profile dist


FROM debian:bookworm-slim

LABEL org.opencontainers.image.title="Afforo" \
      org.opencontainers.image.description="Inventory and order service: stock per store, orders placed atomically against it" \
      org.opencontainers.image.licenses="MIT"

# All that it needs: roots for TLS to PostgreSQL are compiled in, and the time zone is UTC.
COPY --from=build /build/target/dist/afforo /usr/local/bin/afforo

# The image listens where others can reach it: it is for production unless told otherwise.
ENV DEBUG=False

# By number, so that `runAsNonRoot` of Kubernetes can see it. It owns no file, and needs no entry in /etc/passwd.
USER 10001:10001

EXPOSE 8000

# It asks /health/ on port 8000 of this container. The server listens once its migrations are through, which may take
# its time; a worker listens nowhere, and has to run without this.
HEALTHCHECK --interval=5s --timeout=5s --start-period=5m --retries=3 CMD ["afforo", "healthcheck"]

# No entry point, so that `docker run afforo afforo seed` reads like `docker-compose exec web afforo seed`.
CMD ["afforo", "serve", "0.0.0.0:8000"]
