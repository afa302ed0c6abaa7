# The image of the sidecar. Three stages: the runtime is compiled with all dependencies, the last
# stage has production files only, a user without a name and no shell in its way.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# The `node` development dependency is for machines whose own Node is older; this image's is not.
RUN npm ci --ignore-scripts
COPY scripts/build-runtime.ts scripts/
COPY src ./src
RUN npm run build:runtime

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# --ignore-scripts: `prepare` compiles the runtime, which the stage above has done.
RUN npm ci --omit=dev --ignore-scripts

FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE ./
COPY bin ./bin
COPY config ./config
COPY filters ./filters
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/src ./src
USER 65532:65532
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9464/live').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "bin/weir.js"]
CMD ["run", "-c", "config/container.yaml"]
