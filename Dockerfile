# Both binaries, static, as a user without privileges. Certificates and time zones come with the base image.
#
#   docker buildx build --build-arg VERSION=v1.2.3 --build-arg COMMIT=$(git rev-parse HEAD) -t imgbump .
#   harborpush build --build-arg VERSION=v1.2.3 --build-arg COMMIT=$(git rev-parse HEAD) -t imgbump --push
#   docker run --rm imgbump harborpush --help
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
# Go finds itself by /proc/self/exe, which is not there when RUN is in a changed root.
ENV GOROOT=/usr/local/go
WORKDIR /src
ARG TARGETOS TARGETARCH VERSION COMMIT
RUN --mount=type=bind,target=. --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X github.com/ksera524/imgbump/internal/cli.Version=$VERSION -X github.com/ksera524/imgbump/internal/cli.Commit=$COMMIT" \
    -o /out/ ./cmd/imgbump ./cmd/harborpush

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION COMMIT
LABEL org.opencontainers.image.title="imgbump" \
      org.opencontainers.image.description="Build and push images to Harbor, and bump them in GitOps manifests" \
      org.opencontainers.image.source="https://github.com/ksera524/imgbump" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /out/imgbump /out/harborpush /usr/local/bin/
USER 65532:65532
CMD ["imgbump", "--help"]
