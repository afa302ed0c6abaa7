# The image of the sidecar. Runtime and sources are compiled and bundled with all dependencies; what is not
# part of the bundle is installed on its own; a stage has both, and runs them once; the last one has what
# came of that, and a user without a name. The entry point is Node itself: no shell runs, and signals reach it
# as process 1.
#
# Node's version is that of the `node` development dependency, with which the tests run.
FROM node:26.10.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# --ignore-scripts: the `node` package would fetch what this image has.
RUN npm ci --ignore-scripts
COPY scripts/build-runtime.ts scripts/build-package.ts scripts/
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build:runtime && npm run prepack

FROM node:26.10.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# --ignore-scripts: `prepare` compiles the runtime, which the stage above has done.
RUN npm ci --omit=dev --ignore-scripts

FROM node:26.10.0-bookworm-slim AS package
WORKDIR /app
COPY package.json LICENSE README.md ./
COPY bin ./bin
COPY config ./config
COPY filters ./filters
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist/js ./dist/js
WORKDIR /build
COPY scripts/build-code-cache.ts ./
# With the flags of the entry point below: V8 takes no code that was made with others.
RUN node build-code-cache.ts ../app --max-semi-space-size=1 --expose-gc --no-maglev --no-allocation-site-pretenuring --single-threaded-gc

FROM node:26.10.0-bookworm-slim
ENV NODE_ENV=production
# Two heaps of the C library do for two busy threads; each more keeps memory that it does not use.
# Blocks larger than a socket's read (64 KiB) are the system's again as soon as they are freed, whatever
# was freed before; from 64 KiB down, a byte over TCP took half as much CPU again.
ENV MALLOC_ARENA_MAX=2
ENV MALLOC_MMAP_THRESHOLD_=69632
ENV MALLOC_TRIM_THRESHOLD_=69632
WORKDIR /app
COPY --from=package /app .
USER 65532:65532
EXPOSE 7070/tcp 7070/udp 9464/tcp
# Each starts a Node, for some 50 ms of CPU time.
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ["node", "bin/weir.js", "health"]
# All for less memory, at no more time a packet (npm run bench:idle): young objects get 1 MiB instead
# of 16; what starting up took is given back; V8 has one optimising compiler instead of two. And for less
# time a connection: V8 would learn that some of what belongs to one lives long, make that old at once, and
# could not let go of its sockets before a collection of the whole heap. And for less time a datagram: each
# thread collects its garbage alone. It is little, a thousand datagrams' at a time, and having other threads
# help took longer than they saved (0.91 to 0.95 of the CPU without them, as much memory).
# The stage above names the same flags.
ENTRYPOINT ["node", "--max-semi-space-size=1", "--expose-gc", "--no-maglev", "--no-allocation-site-pretenuring", "--single-threaded-gc", "bin/weir.js"]
CMD ["run", "-c", "config/container.yaml"]
