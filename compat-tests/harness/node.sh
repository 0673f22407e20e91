# Sourced by the Node suites after suite.sh: npm packages in the cache, and the pinned Node where npm has it for this machine.
install() {
  needs npm 'install Node.js 20 or newer'
  cp "$here"/package{,-lock}.json "$cache"
  npm ci --prefix "$cache" --no-audit --no-fund --loglevel=error
}

serve() {
  if [[ ${1-} == setup ]]; then install_once package.json package-lock.json; exit; fi
  installed_or_stop
  # npm 9 installs the pinned Node, but makes no link to it.
  local node
  for node in "$cache"/node_modules/.bin/node "$cache"/node_modules/node-linux-*/bin/node node; do
    [[ -x $node ]] && break
  done
  PACKAGES=$cache exec "$node" --disable-warning=ExperimentalWarning --disable-warning=TimeoutNegativeWarning "$here/main.mjs" "$@"
}
