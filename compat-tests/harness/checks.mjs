// What both Node suites share: the commands of a suite, one line per check, and the tally of a group.
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

export { sleep }
export const { BOOTSTRAP } = process.env
export const RECORDS = process.env.OTTLA_SMALL === '1' ? 1_000 : 10_000
export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const CHECK_MS_MAX = 60_000
const CLEANUP_MS_MAX = 5_000

/** Loads a package from where `suite setup` put it, which is outside the source tree. */
export const load = createRequire(`${process.env.PACKAGES}/`)
export const unique = name => `${name}-${randomBytes(4).toString('hex')}`

/** Thrown by a check for what the client itself cannot do. */
export class Skip extends Error {}

/** Serves one command of the contract and leaves; `read` and each check get `defer`, run backwards at their end. */
export async function main({ profile, checks, write, read }) {
  const [command, topic, ...args] = process.argv.slice(2) // `checks PART` runs those with PART in their name
  switch (command) {
    case 'profile':
      console.log(profile)
      break
    case 'checks':
      for (const [name, check] of Object.entries(checks)) {
        if (name.includes(topic ?? '')) await run(name, check)
      }
      break
    case 'write':
      await scoped(defer => write(defer, topic, args[0], Number(args[1])))
      break
    case 'read':
      await run(`read/${topic}`, defer => read(defer, topic, Number(args[0]), args[1]))
      break
    default:
      console.error('usage: suite setup | profile | checks | write TOPIC CODEC N | read TOPIC N PROFILE')
      process.exit(2)
  }
  process.exit(0)
}

async function run(name, check) {
  try {
    await scoped(check)
    console.log(`ok ${name}`)
  } catch (error) {
    const verdict = error instanceof Skip ? 'skip' : 'FAIL'
    console.log(`${verdict} ${name}: ${reasons(error).join('; ').replace(/\s+/g, ' ')}`)
  }
}

async function scoped(check) {
  const deferred = []
  try {
    await within(CHECK_MS_MAX, Promise.race([check(cleanup => deferred.push(cleanup)), strayError()]))
  } finally {
    for (const cleanup of deferred.reverse()) await within(CLEANUP_MS_MAX, Promise.resolve().then(cleanup)).catch(() => {})
  }
}

/** Clients also fail in the background: such an error belongs to the check that runs. */
function strayError() {
  return new Promise((_, reject) => {
    for (const event of ['uncaughtException', 'unhandledRejection']) process.removeAllListeners(event).on(event, reject)
  })
}

async function within(limit_ms, promise) {
  const timer = new AbortController()
  const late = sleep(limit_ms, null, { signal: timer.signal }).then(() => { throw new Error(`not done in ${limit_ms / 1000} s`) })
  late.catch(() => {})
  return Promise.race([promise, late]).finally(() => timer.abort())
}

/** The messages of an error and of everything it wraps. */
export function reasons(error) {
  const inner = [error?.cause, ...(error?.errors ?? [])].filter(Boolean)
  return [...new Set([error?.message ?? String(error), ...inner.flatMap(reasons)])]
}

/** Whether an error, or one it wraps, has this value as its property. */
export const carries = (error, property, value) =>
  error != null && (error[property] === value || [error.cause, ...(error.errors ?? [])].some(inner => carries(inner, property, value)))

export function expect(condition, message) {
  if (!condition) throw new Error(message)
}

export function expectEqual(actual, expected, what) {
  const show = value => JSON.stringify(value, (_, part) => typeof part === 'bigint' ? Number(part) : part)
  expect(show(actual) === show(expected), `${what}: ${show(actual)}, expected ${show(expected)}`)
}

/** The action must fail with an error that carries this code. */
export async function expectError(property, code, action) {
  const error = await action().then(() => null, error => error)
  expect(error !== null, `no error, expected ${code}`)
  expect(carries(error, property, code), `${reasons(error).join('; ')}: expected ${code}`)
}

export async function until(what, condition, limit_ms = 30_000) {
  const deadline = Date.now() + limit_ms
  while (!await condition()) {
    expect(Date.now() < deadline, `${what}: not within ${limit_ms / 1000} s`)
    await sleep(20)
  }
}

/** Which records the members of a group committed. A record counts once its commit went through, so none may count twice. */
export class Tally {
  #owners = new Map()
  #twice = []

  add(member, partition, offset) {
    const place = `${partition}@${offset}`
    if (this.#owners.has(place)) this.#twice.push(`${place} (${this.#owners.get(place)}, then ${member})`)
    this.#owners.set(place, member)
  }

  get size() {
    return this.#owners.size
  }

  of(member) {
    return [...this.#owners.values()].filter(owner => owner === member).length
  }

  expectEachOnce(count) {
    expectEqual(this.size, count, 'records seen')
    expect(this.#twice.length === 0, `${this.#twice.length} records twice: ${this.#twice.slice(0, 3).join(', ')}`)
  }
}
