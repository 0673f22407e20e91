// The record formula of README.md: record i is the same in every language. Both Node suites write and compare with it.

const NOT_UTF8 = Buffer.from([0xff, 0xfe, 0x00, 0x80])
const text = string => Buffer.from(string, 'utf8')
const padded = i => text(`value-${i}-${'x'.repeat((i * 37) % 211)}`)

/** The longest value, with neither key nor headers, whose uncompressed batch still fits in 1,048,588 bytes:
 *  61 bytes of batch header, then length (3), attributes, timestamp, offset and key (1 each), value length (3), header count (1). */
export const LONGEST_VALUE = 1_048_588 - 72

/** Record i as { key, value, headers: [[name, bytes]], timestamp }; bytes are a Buffer or null. */
export function record(i, profile = 'full') {
  const timestamp = 1_700_000_000_000 + i * 10
  const [base, ...lacks] = profile.split('-')
  return base === 'plain'
    ? { key: text(`key-${i}`), value: padded(i), headers: [], timestamp }
    : { key: key(i), value: value(i, lacks), headers: headers(i, lacks), timestamp }
}

export const records = (count, profile) => Array.from({ length: count }, (_, i) => record(i, profile))

function key(i) {
  if (i % 10 === 0) return null
  return i % 10 === 1 ? Buffer.alloc(0) : text(`key-${i}`)
}

function value(i, lacks) {
  if (i % 7 === 3) return i % 10 === 0 && lacks.includes('noboth') ? Buffer.alloc(0) : null
  return i % 7 === 4 ? Buffer.concat([NOT_UTF8, text(`${i}`)]) : padded(i)
}

function headers(i, lacks) {
  switch (i % 5) {
    case 0: return []
    case 1: return [['h', text(`${i}`)]]
    case 2: return lacks.includes('nodup') ? [['dup', text('b')]] : [['dup', text('a')], ['dup', text('b')]]
    case 3: {
      const binary = ['bin', Buffer.from([0xff, 0x00, 0xfe])]
      return lacks.includes('nonull') ? [binary] : [binary, ['null', null]]
    }
    case 4: return [['empty', Buffer.alloc(0)]]
  }
}

/** Throws with the first difference between what a client handed back and the formula. */
export function compare(seen, profile) {
  seen.forEach((actual, i) => {
    const expected = record(i, profile)
    if (profile === 'plain') actual = { ...actual, timestamp: expected.timestamp }
    for (const field of Object.keys(expected)) {
      const [want, got] = [show(expected[field]), show(actual[field])]
      if (want !== got) throw new Error(`record ${i}: ${field} is ${got}, expected ${want}`)
    }
  })
}

const show = field => JSON.stringify(field, (_, part) => part?.type === 'Buffer' ? Buffer.from(part.data).toString('latin1') : part)
