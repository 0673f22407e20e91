import {
  BOOTSTRAP, CODECS, RECORDS, Skip, Tally, expect, expectEqual, expectError, load, main, sleep, unique, until
} from '../harness/checks.mjs'
import { LONGEST_VALUE, compare, records } from '../harness/formula.mjs'

const {
  Admin, Consumer, Producer, ConfigResourceTypes, FindCoordinatorKeyTypes, IncrementalAlterConfigOperationTypes,
  ListOffsetTimestamps, compressionsAlgorithms
} = load('@platformatic/kafka')

const PROFILE = 'full'
const GROUP_RECORDS = 2_000
const FETCH_WAIT_MS = 200
const { TOPIC } = ConfigResourceTypes
const FORCE = true // closes the streams of a consumer too
const { SET, DELETE } = IncrementalAlterConfigOperationTypes

const client = { clientId: 'ottla-compat', bootstrapBrokers: [BOOTSTRAP], timeout: 10_000, retries: 3, retryDelay: 200 }

function opened(defer, client, ...closing) {
  defer(() => client.close(...closing))
  return client
}

const adminOf = defer => opened(defer, new Admin(client))
const producerOf = (defer, options) => opened(defer, new Producer({ ...client, ...options }))
const consumerOf = (defer, options) => opened(defer, new Consumer({
  ...client, groupId: unique('reader'), sessionTimeout: 10_000, rebalanceTimeout: 15_000, heartbeatInterval: 300, maxWaitTime: FETCH_WAIT_MS, ...options
}), FORCE)

async function newTopic(admin, partitions = 1, options = {}) {
  const topic = unique('platformatic')
  await admin.createTopics({ topics: [topic], partitions, replicas: 1, ...options })
  return topic
}

/** The client keeps headers in a Map, but one keyed by Buffers: two equal names are two keys, so duplicates are written. */
const messagesOf = (topic, count, partition = 0) => records(count, PROFILE).map(record => ({
  ...record,
  topic,
  partition,
  headers: new Map(record.headers.map(([name, bytes]) => [Buffer.from(name), bytes])),
  timestamp: BigInt(record.timestamp)
}))

const recordOf = ({ key, value, headerEntries, timestamp }) => ({
  key: key ?? null,
  value: value ?? null,
  headers: headerEntries.map(([name, bytes]) => [`${name}`, bytes ?? null]),
  timestamp: Number(timestamp)
})

async function send(producer, messages, compression = 'none') {
  for (let from = 0; from < messages.length; from += 1_000) {
    await producer.send({ compression, messages: messages.slice(from, from + 1_000) })
  }
}

/** Reads `count` messages from the beginning, or from `offsets`. */
async function consume(defer, topic, count, offsets) {
  const consumer = consumerOf(defer)
  const stream = await consumer.consume({ topics: [topic], autocommit: false, ...(offsets ? { mode: 'manual', offsets } : { mode: 'earliest' }) })
  const seen = []
  for await (const message of stream) {
    if (seen.push(message) === count) break
  }
  expectEqual(seen.length, count, 'records read')
  return seen
}

/** Joins a group and tallies each message once its commit went through. After a rebalance the stream goes on at the committed
 *  offsets while it still holds messages it had fetched ahead, and hands those out twice: a member skips what it committed. */
async function join(defer, tally, name, groupId, topic, options) {
  const consumer = consumerOf(defer, { groupId, ...options })
  const next = new Map()
  const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: false, highWaterMark: 16, maxBytes: 4_096 })
  stream.on('data', async message => {
    stream.pause()
    const { partition, offset } = message
    if (offset >= (next.get(partition) ?? 0n)) {
      await message.commit()
      next.set(partition, offset + 1n)
      tally.add(name, partition, offset)
    }
    stream.resume()
  })
  return { consumer, partitions: () => consumer.assignments?.flatMap(({ partitions }) => partitions) ?? [] }
}

async function oneMemberLeaves(defer, options) {
  const topic = await newTopic(adminOf(defer), 4)
  const producer = producerOf(defer)
  const groupId = unique('group')
  const tally = new Tally()
  const stays = await join(defer, tally, 'stays', groupId, topic, options)
  const leaves = await join(defer, tally, 'leaves', groupId, topic, options)
  await until('two partitions each', () => stays.partitions().length === 2 && leaves.partitions().length === 2)
  // The client hands on what a fetch sent before the rebalance brings, also of partitions that it has given up: let it end.
  await sleep(3 * FETCH_WAIT_MS)

  const messages = Array.from({ length: GROUP_RECORDS }, (_, i) => ({ topic, value: Buffer.from(`${i}`), partition: i % 4 }))
  for (let from = 0; from < GROUP_RECORDS; from += 100) await producer.send({ messages: messages.slice(from, from + 100) })
  await until('half of the records seen', () => tally.size >= GROUP_RECORDS / 2)
  await leaves.consumer.close(FORCE)
  await until('all records seen', () => tally.size >= GROUP_RECORDS)
  await until('all partitions at the member that stays', () => stays.partitions().length === 4)
  tally.expectEachOnce(GROUP_RECORDS)
  expect(tally.of('leaves') > 0 && tally.of('stays') > 0, 'one member saw nothing')
  await stays.consumer.close(FORCE)

  const comesLater = await join(defer, tally, 'comes later', groupId, topic, options)
  await until('all partitions at the new member', () => comesLater.partitions().length === 4)
  await producer.send({ messages: [{ topic, value: Buffer.from('one more'), partition: 1 }] })
  await until('the one record after the committed offsets', () => tally.size > GROUP_RECORDS)
  tally.expectEachOnce(GROUP_RECORDS + 1)
}

const checks = {
  async 'topics/a-created-topic-is-listed-and-described'(defer) {
    const admin = adminOf(defer)
    const topic = unique('platformatic')
    const [created] = await admin.createTopics({ topics: [topic], partitions: 3, replicas: 1, configs: [{ name: 'retention.ms', value: '3600000' }] })
    expectEqual([created.name, created.partitions, created.replicas], [topic, 3, 1], 'answer')
    expectEqual(created.configuration['retention.ms'], '3600000', 'retention.ms in the answer')
    expect((await admin.listTopics()).includes(topic), 'not listed')
    const { id, partitions } = (await admin.metadata({ topics: [topic] })).topics.get(topic)
    expectEqual(id, created.id, 'topic id')
    expectEqual(partitions.length, 3, 'partitions')
  },

  async 'topics/a-replica-assignment-is-kept'(defer) {
    const admin = adminOf(defer)
    const [broker] = (await admin.metadata({ topics: [] })).brokers.keys()
    const topic = unique('platformatic')
    await admin.createTopics({ topics: [topic], assignments: [0, 1].map(partition => ({ partition, brokers: [broker] })) })
    const { partitions } = (await admin.metadata({ topics: [topic] })).topics.get(topic)
    expectEqual(partitions.map(({ replicas }) => replicas), [[broker], [broker]], 'replicas')
  },

  async 'topics/creating-one-again-is-refused'(defer) {
    const admin = adminOf(defer)
    const topic = await newTopic(admin)
    await expectError('apiId', 'TOPIC_ALREADY_EXISTS', () => admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 }))
  },

  async 'topics/an-unknown-config-is-refused'(defer) {
    await expectError('apiId', 'INVALID_CONFIG', () => newTopic(adminOf(defer), 1, { configs: [{ name: 'no.such.config', value: '1' }] }))
  },

  async 'topics/partitions-can-be-added'(defer) {
    const admin = adminOf(defer)
    const topic = await newTopic(admin)
    await admin.createPartitions({ topics: [{ name: topic, count: 4, }], validateOnly: false })
    expectEqual((await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitionsCount, 4, 'partitions')
  },

  async 'topics/a-deleted-topic-is-gone'(defer) {
    const admin = adminOf(defer)
    const topic = await newTopic(admin)
    await admin.deleteTopics({ topics: [topic] })
    await until('topic gone from the list', async () => !(await admin.listTopics()).includes(topic))
    await expectError('apiId', 'UNKNOWN_TOPIC_OR_PARTITION', () => admin.deleteTopics({ topics: [topic] }))
  },

  async 'topics/an-unknown-topic-gives-its-error'(defer) {
    const topic = unique('missing')
    await expectError('message', `Unknown topic ${topic}.`, () => adminOf(defer).metadata({ topics: [topic], autocreateTopics: false }))
  },

  async 'topics/producing-to-a-missing-topic-creates-it'(defer) {
    const topic = unique('auto')
    await producerOf(defer, { autocreateTopics: true }).send({ messages: [{ topic, value: Buffer.from('first') }] })
    expect((await adminOf(defer).listTopics()).includes(topic), 'not listed')
    expectEqual((await consume(defer, topic, 1)).map(({ value }) => `${value}`), ['first'], 'record')
  },

  async 'configs/of-a-topic-are-described-and-altered'(defer) {
    const admin = adminOf(defer)
    const topic = await newTopic(admin)
    const resource = { resourceType: TOPIC, resourceName: topic }
    const describe = async name => {
      const [{ configs }] = await admin.describeConfigs({ resources: [{ ...resource, configurationKeys: [name] }], includeSynonyms: true, includeDocumentation: false })
      return configs.map(({ name, value }) => [name, value])
    }
    const alter = configs => admin.incrementalAlterConfigs({ resources: [{ ...resource, configs }], validateOnly: false })
    expectEqual(await describe('retention.ms'), [['retention.ms', '604800000']], 'default')
    await alter([{ name: 'retention.ms', configOperation: SET, value: '60000' }])
    expectEqual(await describe('retention.ms'), [['retention.ms', '60000']], 'set')
    await alter([{ name: 'retention.ms', configOperation: DELETE, value: null }])
    expectEqual(await describe('retention.ms'), [['retention.ms', '604800000']], 'deleted')
    await expectError('apiId', 'INVALID_CONFIG', () => alter([{ name: 'retention.ms', configOperation: SET, value: 'a while' }]))
  },

  ...Object.fromEntries(CODECS.map(codec => [`records/${codec}-come-back-byte-for-byte`, async defer => {
    if (codec !== 'none' && !compressionsAlgorithms[codec].available) throw new Skip(`Node.js ${process.version} has no ${codec}`)
    const topic = await newTopic(adminOf(defer))
    await send(producerOf(defer), messagesOf(topic, RECORDS), codec)
    compare((await consume(defer, topic, RECORDS)).map(recordOf), PROFILE)
  }])),

  async 'records/acks-none-and-leader-arrive-too'(defer) {
    const topic = await newTopic(adminOf(defer))
    const producer = producerOf(defer)
    for (const acks of [0, 1]) await producer.send({ acks, messages: [{ topic, value: Buffer.from(`acks ${acks}`), partition: 0 }] })
    expectEqual((await consume(defer, topic, 2)).map(({ value }) => `${value}`), ['acks 0', 'acks 1'], 'records')
  },

  async 'records/a-producer-stream-writes-all'(defer) {
    const topic = await newTopic(adminOf(defer))
    const stream = producerOf(defer).asStream({ batchSize: 100, batchTime: 10 })
    messagesOf(topic, 1_000).forEach(message => stream.write(message))
    await stream.close()
    compare((await consume(defer, topic, 1_000)).map(recordOf), PROFILE)
  },

  async 'idempotent/all-records-in-order-none-missing'(defer) {
    const topic = await newTopic(adminOf(defer))
    await send(producerOf(defer, { idempotent: true }), messagesOf(topic, RECORDS))
    compare((await consume(defer, topic, RECORDS)).map(recordOf), PROFILE)
  },

  async 'sizes/a-record-at-the-limit-goes-through'(defer) {
    const topic = await newTopic(adminOf(defer))
    await producerOf(defer).send({ messages: [{ topic, value: Buffer.alloc(LONGEST_VALUE, 'v') }] })
    expectEqual((await consume(defer, topic, 1))[0].value.length, LONGEST_VALUE, 'length')
  },

  async 'sizes/a-record-over-the-limit-is-refused'(defer) {
    const topic = await newTopic(adminOf(defer))
    const producer = producerOf(defer)
    await expectError('apiId', 'MESSAGE_TOO_LARGE', () => producer.send({ messages: [{ topic, value: Buffer.alloc(LONGEST_VALUE + 1, 'v') }] }))
    await producer.send({ messages: [{ topic, value: Buffer.from('small') }] })
    expectEqual(`${(await consume(defer, topic, 1))[0].value}`, 'small', 'the next record')
  },

  async 'offsets/beginning-end-and-by-timestamp'(defer) {
    const topic = await newTopic(adminOf(defer))
    await send(producerOf(defer), messagesOf(topic, 100))
    const consumer = consumerOf(defer)
    const at = async timestamp => Number((await consumer.listOffsets({ topics: [topic], timestamp })).get(topic)[0])
    expectEqual(await at(ListOffsetTimestamps.EARLIEST), 0, 'beginning')
    expectEqual(await at(ListOffsetTimestamps.LATEST), 100, 'end')
    expectEqual(await at(1_700_000_000_500n), 50, 'at a time')
    expectEqual(await at(1_700_000_000_501n), 51, 'between two times')
    expectEqual(await at(1_700_000_009_999n), -1, 'past the end')
  },

  async 'offsets/the-admin-lists-the-largest-timestamp'(defer) {
    const admin = adminOf(defer)
    const topic = await newTopic(admin)
    await send(producerOf(defer), messagesOf(topic, 100))
    const [{ partitions: [{ offset, timestamp }] }] =
      await admin.listOffsets({ topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: ListOffsetTimestamps.MAX }] }] })
    expectEqual([offset, timestamp], [99n, 1_700_000_000_990n], 'offset and timestamp')
  },

  async 'offsets/reading-from-an-offset'(defer) {
    const topic = await newTopic(adminOf(defer))
    await send(producerOf(defer), messagesOf(topic, 1_000))
    const seen = await consume(defer, topic, 10, [{ topic, partition: 0, offset: 700n }])
    expectEqual(seen.map(({ offset }) => Number(offset)), Array.from({ length: 10 }, (_, i) => 700 + i), 'offsets')
  },

  async 'groups/one-member-leaves-nothing-lost-nothing-twice'(defer) {
    await oneMemberLeaves(defer)
  },

  async 'groups/cooperative-sticky-one-member-leaves-nothing-lost-nothing-twice'(defer) {
    await oneMemberLeaves(defer, { protocols: [{ name: 'cooperative-sticky', version: 1 }] })
  },

  async 'groups/a-static-member-comes-back-under-its-name'(defer) {
    const admin = adminOf(defer)
    const topic = await newTopic(admin, 2)
    const groupId = unique('group')
    const member = await join(defer, new Tally(), 'static', groupId, topic, { groupInstanceId: 'instance-1' })
    await until('partitions assigned', () => member.partitions().length === 2)
    const instances = async () => [...(await admin.describeGroups({ groups: [groupId] })).get(groupId).members.values()]
    expectEqual((await instances()).map(({ groupInstanceId }) => groupInstanceId), ['instance-1'], 'instances')
    const again = await join(defer, new Tally(), 'static again', groupId, topic, { groupInstanceId: 'instance-1' })
    await until('partitions assigned again', () => again.partitions().length === 2)
    expectEqual((await instances()).map(({ id }) => id), [again.consumer.memberId], 'member ids')
  },

  async 'groups/are-listed-described-and-deleted'(defer) {
    const admin = adminOf(defer)
    const topic = await newTopic(admin, 2)
    const groupId = unique('group')
    const member = await join(defer, new Tally(), 'only', groupId, topic)
    await until('partitions assigned', () => member.partitions().length === 2)
    expectEqual((await admin.listGroups({ states: ['Stable'] })).get(groupId)?.protocolType, 'consumer', 'listed protocol type')
    const [coordinator] = await admin.findCoordinator({ keyType: FindCoordinatorKeyTypes.GROUP, keys: [groupId] })
    expectEqual(`${coordinator.host}:${coordinator.port}`, BOOTSTRAP, 'coordinator')
    const stable = (await admin.describeGroups({ groups: [groupId] })).get(groupId)
    expectEqual([stable.state, stable.members.size], ['Stable', 1], 'group')
    const [{ assignments, clientId }] = stable.members.values()
    expectEqual([clientId, assignments.get(topic).partitions], ['ottla-compat', [0, 1]], 'member')
    await expectError('apiId', 'NON_EMPTY_GROUP', () => admin.deleteGroups({ groups: [groupId] }))
    await admin.removeMembersFromConsumerGroup({ groupId, members: [{ memberId: member.consumer.memberId, reason: 'a check' }] })
    await member.consumer.close(FORCE)
    await until('group empty or gone', async () => (await admin.describeGroups({ groups: [groupId] })).get(groupId).members.size === 0)
    await admin.deleteGroups({ groups: [groupId] })
    expect(!(await admin.listGroups()).has(groupId), 'still listed')
  },

  async 'groups/offsets-are-altered-listed-and-deleted'(defer) {
    const admin = adminOf(defer)
    const topic = await newTopic(admin, 2)
    const groupId = unique('group')
    const committed = async () => {
      const [{ topics }] = await admin.listConsumerGroupOffsets({ groups: [{ groupId, topics: [{ name: topic, partitionIndexes: [0, 1] }] }] })
      return topics[0].partitions.map(({ committedOffset }) => committedOffset)
    }
    await admin.alterConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionOffsets: [{ partition: 0, offset: 20n }, { partition: 1, offset: 30n }] }] })
    expectEqual(await committed(), [20n, 30n], 'offsets set')
    await admin.deleteConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionIndexes: [1] }] })
    expectEqual(await committed(), [20n, -1n], 'offsets with one deleted')
  }
}

await main({
  profile: PROFILE,
  checks,
  async write(defer, topic, codec, count) {
    const admin = adminOf(defer)
    if (!(await admin.listTopics()).includes(topic)) await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 })
    await send(producerOf(defer), messagesOf(topic, count), codec)
  },
  async read(defer, topic, count, profile) {
    compare((await consume(defer, topic, count)).map(recordOf), profile)
  }
})
