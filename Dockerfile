# The service: API and worker in one image, told apart by HOLDPOINT_ROLE.
# Two stages on one base, which gives Node 24 and, for the first stage only, npm. The second needs no shell and no npm.
ARG BASE_IMAGE=node:24-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Nothing of what is installed is compiled; install scripts would only fetch what the base has.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json langgraph.json ./
COPY scripts ./scripts
COPY src ./src
COPY graphs ./graphs
COPY tools ./tools
RUN npm run build && npm prune --omit=dev --ignore-scripts
# What Node compiles at a start is kept: the image is ready sooner, and need not write it anywhere.
RUN node scripts/image/warm.ts /app/compile-cache
# Volumes take over the owner of the folder that they cover: these two become the only ones that the service writes to.
RUN mkdir -p /volumes/data /volumes/keys

FROM ${BASE_IMAGE}
ENV NODE_ENV=production \
    NODE_COMPILE_CACHE=/app/compile-cache \
    HOLDPOINT_HOST=0.0.0.0 \
    HOLDPOINT_PORT=8080 \
    HOLDPOINT_DATA_DIR=/var/lib/holdpoint \
    HOLDPOINT_CONFIG=/app/dist/langgraph.json
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/compile-cache ./compile-cache
COPY --from=build --chown=10001:10001 /volumes/data /var/lib/holdpoint
COPY --from=build --chown=10001:10001 /volumes/keys /run/holdpoint
VOLUME ["/var/lib/holdpoint", "/run/holdpoint"]
# By number: nothing has to be added to the base's list of users.
USER 10001:10001
EXPOSE 8080
# A worker serves no HTTP: that it runs is all that can be asked of it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["node", "-e", "process.env.HOLDPOINT_ROLE === 'worker' || fetch(`http://127.0.0.1:${process.env.HOLDPOINT_PORT}/ok`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
# Node itself is the first process of the container, and gets its signals.
ENTRYPOINT ["node", "--max-semi-space-size=16", "--heap-growing-percent=50", "dist/main.js"]
CMD ["start"]
