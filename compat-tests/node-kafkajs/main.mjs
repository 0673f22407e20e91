import zlib from 'node:zlib'
import {
  BOOTSTRAP, CODECS, RECORDS, Skip, Tally, expect, expectEqual, expectError, load, main, sleep, unique, until
} from '../harness/checks.mjs'
import { LONGEST_VALUE, compare, records } from '../harness/formula.mjs'

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const { AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = load('kafkajs')

// kafkajs encodes a null header value with Buffer.byteLength(null), which throws: it writes the formula without that header.
const PROFILE = 'full-nonull'
const GROUP_RECORDS = 2_000
const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
}

const lz4 = load('lz4-napi')
CompressionCodecs[CompressionTypes.Snappy] = load('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: ({ buffer }) => lz4.compressFrame(buffer),
  decompress: buffer => lz4.decompressFrame(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }) => zlib.zstdCompressSync(buffer),
  decompress: async buffer => zlib.zstdDecompressSync(buffer)
})

const kafka = new Kafka({
  clientId: 'ottla-compat', brokers: [BOOTSTRAP], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 200, retries: 4 }
})

async function connected(defer, client) {
  defer(() => client.disconnect())
  await client.connect()
  return client
}

const adminOf = defer => connected(defer, kafka.admin())
const producerOf = (defer, config) => connected(defer, kafka.producer(config))

async function newTopic(admin, numPartitions = 1, options = {}) {
  const topic = unique('kafkajs')
  await admin.createTopics({ topics: [{ topic, numPartitions, ...options }] })
  return topic
}

async function send(producer, topic, messages, codec = 'none') {
  for (let from = 0; from < messages.length; from += 1_000) {
    await producer.send({ topic, compression: COMPRESSION[codec], messages: messages.slice(from, from + 1_000) })
  }
}

const messagesOf = (count, partition = 0) => records(count, PROFILE).map(record => ({
  ...record,
  partition,
  headers: record.headers.reduce((all, [name, bytes]) => ({ ...all, [name]: all[name] ? [all[name], bytes].flat() : bytes }), {}),
  timestamp: `${record.timestamp}`
}))

/** kafkajs hands headers back as an object, where the values of one name are an array: same-named headers must be neighbours. */
const recordOf = ({ key, value, headers, timestamp }) => ({
  key,
  value,
  headers: Object.entries(headers).flatMap(([name, bytes]) => [bytes].flat().map(one => [name, one])),
  timestamp: Number(timestamp)
})

const consumerOf = (defer, groupId, config = {}) => connected(defer, kafka.consumer({
  groupId, sessionTimeout: 10_000, rebalanceTimeout: 15_000, heartbeatInterval: 300, maxWaitTimeInMs: 200, ...config
}))

/** Reads `count` messages from the beginning; with `seekTo` it starts at the end, so that only the seek can bring any. */
async function consume(defer, topic, count, seekTo = null) {
  const consumer = await consumerOf(defer, unique('reader'))
  const seen = []
  await consumer.subscribe({ topics: [topic], fromBeginning: seekTo === null })
  await consumer.run({ autoCommit: false, eachBatch: async ({ batch }) => { seen.push(...batch.messages) } })
  if (seekTo !== null) consumer.seek({ topic, partition: 0, offset: `${seekTo}` })
  await until(`${count} records read`, () => seen.length >= count)
  return seen.slice(0, count)
}

/** Joins a group and tallies each batch once its commit went through; `partitions` are those assigned last. */
async function join(defer, tally, name, groupId, topic, config) {
  const consumer = await consumerOf(defer, groupId, { maxBytesPerPartition: 4_096, ...config })
  const member = { consumer, partitions: [], protocol: null }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    member.partitions = payload.memberAssignment[topic] ?? []
    member.protocol = payload.groupProtocol
  })
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, commitOffsetsIfNecessary, heartbeat }) => {
      const { partition, messages } = batch
      const offset = `${BigInt(batch.lastOffset()) + 1n}`
      await sleep(2)
      // Not consumer.commitOffsets(): while the consumer stops, that one does nothing and says nothing.
      await commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, offset }] }] })
      messages.forEach(({ offset }) => tally.add(name, partition, offset))
      await heartbeat()
    }
  })
  return member
}

const spread = (count, partitions, batch = 20) => Array.from({ length: count / batch }, (_, i) =>
  Array.from({ length: batch }, (_, j) => ({ value: `${i * batch + j}`, partition: i % partitions })))

async function oneMemberLeaves(defer, config) {
  const admin = await adminOf(defer)
  const producer = await producerOf(defer)
  const topic = await newTopic(admin, 4)
  const groupId = unique('group')
  const tally = new Tally()
  const stays = await join(defer, tally, 'stays', groupId, topic, config)
  const leaves = await join(defer, tally, 'leaves', groupId, topic, config)
  await until('two partitions each', () => stays.partitions.length === 2 && leaves.partitions.length === 2)

  for (const batch of spread(GROUP_RECORDS, 4)) await producer.send({ topic, messages: batch })
  await until('half of the records seen', () => tally.size >= GROUP_RECORDS / 2)
  await leaves.consumer.disconnect()
  await until('all records seen', () => tally.size >= GROUP_RECORDS)
  await until('all partitions at the member that stays', () => stays.partitions.length === 4)
  tally.expectEachOnce(GROUP_RECORDS)
  expect(tally.of('leaves') > 0 && tally.of('stays') > 0, 'one member saw nothing')
  await stays.consumer.disconnect()

  const comesLater = await join(defer, tally, 'comes later', groupId, topic, config)
  await until('all partitions at the new member', () => comesLater.partitions.length === 4)
  await producer.send({ topic, messages: [{ value: 'one more', partition: 1 }] })
  await until('the one record after the committed offsets', () => tally.size > GROUP_RECORDS)
  tally.expectEachOnce(GROUP_RECORDS + 1)
  return comesLater
}

const checks = {
  async 'topics/a-created-topic-is-listed-and-described'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin, 3, { configEntries: [{ name: 'retention.ms', value: '3600000' }] })
    expect((await admin.listTopics()).includes(topic), 'not listed')
    const { topics: [{ partitions }] } = await admin.fetchTopicMetadata({ topics: [topic] })
    expectEqual(partitions.map(({ partitionId }) => partitionId).sort(), [0, 1, 2], 'partitions')
    expect(partitions.every(({ leader, isr }) => isr.includes(leader)), 'a leader is not in sync')
  },

  async 'topics/a-replica-assignment-is-kept'(defer) {
    const admin = await adminOf(defer)
    const { brokers: [{ nodeId }] } = await admin.describeCluster()
    const replicaAssignment = [0, 1].map(partition => ({ partition, replicas: [nodeId] }))
    const topic = await newTopic(admin, -1, { replicationFactor: -1, replicaAssignment })
    const { topics: [{ partitions }] } = await admin.fetchTopicMetadata({ topics: [topic] })
    expectEqual(partitions.map(({ replicas }) => replicas), [[nodeId], [nodeId]], 'replicas')
  },

  async 'topics/creating-one-again-says-it-exists'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin)
    expectEqual(await admin.createTopics({ topics: [{ topic }] }), false, 'created again')
  },

  async 'topics/validate-only-creates-nothing'(defer) {
    const admin = await adminOf(defer)
    const topic = unique('kafkajs')
    await admin.createTopics({ validateOnly: true, waitForLeaders: false, topics: [{ topic }] })
    expect(!(await admin.listTopics()).includes(topic), 'it was created')
  },

  async 'topics/an-unknown-config-is-refused'(defer) {
    const admin = await adminOf(defer)
    await expectError('type', 'INVALID_CONFIG', () => newTopic(admin, 1, { configEntries: [{ name: 'no.such.config', value: '1' }] }))
  },

  async 'topics/partitions-can-be-added'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin, 1)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
    const { topics: [{ partitions }] } = await admin.fetchTopicMetadata({ topics: [topic] })
    expectEqual(partitions.length, 4, 'partitions')
    await expectError('type', 'INVALID_PARTITIONS', () => admin.createPartitions({ topicPartitions: [{ topic, count: 2 }] }))
  },

  async 'topics/a-deleted-topic-is-gone'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin)
    await admin.deleteTopics({ topics: [topic] })
    await until('topic gone from the list', async () => !(await admin.listTopics()).includes(topic))
    await expectError('type', 'UNKNOWN_TOPIC_OR_PARTITION', () => admin.deleteTopics({ topics: [topic] }))
  },

  async 'topics/an-unknown-topic-gives-its-error'(defer) {
    const admin = await adminOf(defer)
    await expectError('type', 'UNKNOWN_TOPIC_OR_PARTITION', () => admin.fetchTopicMetadata({ topics: [unique('missing')] }))
  },

  async 'topics/producing-to-a-missing-topic-creates-it'(defer) {
    const admin = await adminOf(defer)
    const producer = await producerOf(defer, { allowAutoTopicCreation: true })
    const topic = unique('auto')
    await producer.send({ topic, messages: [{ value: 'first' }] })
    expect((await admin.listTopics()).includes(topic), 'not listed')
    expectEqual((await consume(defer, topic, 1)).map(({ value }) => `${value}`), ['first'], 'record')
  },

  async 'configs/of-a-topic-are-described-and-altered'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin, 1, { configEntries: [{ name: 'retention.ms', value: '3600000' }] })
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
    const describe = async configNames => {
      const { resources: [{ configEntries }] } = await admin.describeConfigs({ includeSynonyms: true, resources: [{ ...resource, configNames }] })
      return Object.fromEntries(configEntries.map(({ configName, configValue }) => [configName, configValue]))
    }
    expectEqual(await describe(['retention.ms']), { 'retention.ms': '3600000' }, 'configs as created')
    expectEqual((await describe())['max.message.bytes'], '1048588', 'max.message.bytes')
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name: 'cleanup.policy', value: 'compact' }] }] })
    expectEqual(await describe(['cleanup.policy']), { 'cleanup.policy': 'compact' }, 'configs as altered')
    expectEqual(await describe(['retention.ms']), { 'retention.ms': '604800000' }, 'what AlterConfigs leaves out returns to its default')
  },

  async 'cluster/is-described-with-its-controller'(defer) {
    const { brokers, controller, clusterId } = await (await adminOf(defer)).describeCluster()
    expect(brokers.some(({ host, port }) => `${host}:${port}` === BOOTSTRAP), `no broker at ${BOOTSTRAP}`)
    expect(brokers.some(({ nodeId }) => nodeId === controller), `controller ${controller} is no broker`)
    expect(clusterId, 'no cluster id')
  },

  ...Object.fromEntries(CODECS.map(codec => [`records/${codec}-come-back-byte-for-byte`, async defer => {
    if (codec === 'zstd' && !zlib.zstdCompressSync) throw new Skip(`Node.js ${process.version} has no zstd (22.15 and newer have)`)
    const topic = await newTopic(await adminOf(defer))
    await send(await producerOf(defer), topic, messagesOf(RECORDS), codec)
    compare((await consume(defer, topic, RECORDS)).map(recordOf), PROFILE)
  }])),

  async 'records/acks-none-and-leader-arrive-too'(defer) {
    const topic = await newTopic(await adminOf(defer))
    const producer = await producerOf(defer)
    for (const acks of [0, 1]) await producer.send({ topic, acks, messages: [{ value: `acks ${acks}`, partition: 0 }] })
    expectEqual((await consume(defer, topic, 2)).map(({ value }) => `${value}`), ['acks 0', 'acks 1'], 'records')
  },

  async 'records/several-topics-in-one-request'(defer) {
    const admin = await adminOf(defer)
    const topics = [await newTopic(admin), await newTopic(admin)]
    const producer = await producerOf(defer)
    const results = await producer.sendBatch({ topicMessages: topics.map(topic => ({ topic, messages: [{ value: topic }] })) })
    expectEqual(results.map(({ topicName }) => topicName).sort(), [...topics].sort(), 'topics answered')
    for (const topic of topics) expectEqual(`${(await consume(defer, topic, 1))[0].value}`, topic, 'record')
  },

  async 'idempotent/all-records-in-order-none-missing'(defer) {
    const topic = await newTopic(await adminOf(defer))
    await send(await producerOf(defer, { idempotent: true, maxInFlightRequests: 1 }), topic, messagesOf(RECORDS))
    compare((await consume(defer, topic, RECORDS)).map(recordOf), PROFILE)
  },

  async 'sizes/a-record-at-the-limit-goes-through'(defer) {
    const topic = await newTopic(await adminOf(defer))
    const producer = await producerOf(defer)
    await producer.send({ topic, messages: [{ value: Buffer.alloc(LONGEST_VALUE, 'v') }] })
    expectEqual((await consume(defer, topic, 1))[0].value.length, LONGEST_VALUE, 'length')
  },

  async 'sizes/a-record-over-the-limit-is-refused'(defer) {
    const topic = await newTopic(await adminOf(defer))
    const producer = await producerOf(defer)
    await expectError('type', 'MESSAGE_TOO_LARGE', () => producer.send({ topic, messages: [{ value: Buffer.alloc(LONGEST_VALUE + 1, 'v') }] }))
    await producer.send({ topic, messages: [{ value: 'small' }] })
    expectEqual(`${(await consume(defer, topic, 1))[0].value}`, 'small', 'the next record')
  },

  async 'offsets/beginning-and-end'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin)
    await send(await producerOf(defer), topic, messagesOf(100))
    const [{ low, high, offset }] = await admin.fetchTopicOffsets(topic)
    expectEqual({ low, high, offset }, { low: '0', high: '100', offset: '100' }, 'offsets')
  },

  async 'offsets/by-timestamp'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin)
    await send(await producerOf(defer), topic, messagesOf(100))
    const at = async timestamp => (await admin.fetchTopicOffsetsByTimestamp(topic, timestamp))[0].offset
    expectEqual(await at(1_700_000_000_000), '0', 'at the first time')
    expectEqual(await at(1_700_000_000_500), '50', 'at a time')
    expectEqual(await at(1_700_000_000_501), '51', 'between two times')
    expectEqual(await at(1_700_000_009_999), '100', 'past the end, which kafkajs turns into the end offset')
  },

  async 'offsets/seek-and-read-on'(defer) {
    const topic = await newTopic(await adminOf(defer))
    await send(await producerOf(defer), topic, messagesOf(1_000))
    const seen = await consume(defer, topic, 10, 700)
    expectEqual(seen.map(({ offset }) => Number(offset)), Array.from({ length: 10 }, (_, i) => 700 + i), 'offsets')
  },

  async 'groups/one-member-leaves-nothing-lost-nothing-twice'(defer) {
    await oneMemberLeaves(defer)
  },

  async 'groups/a-custom-assignor-takes-part'(defer) {
    const byPartition = ({ cluster }) => ({
      name: 'ByPartition',
      version: 1,
      protocol: ({ topics }) => ({
        name: 'ByPartition',
        metadata: AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: Buffer.from('mine') })
      }),
      assign: async ({ members, topics: [topic] }) => {
        const ids = members.map(({ memberId }) => memberId).sort()
        const partitions = cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId)
        return ids.map((memberId, index) => ({
          memberId,
          memberAssignment: AssignerProtocol.MemberAssignment.encode({
            version: 1, assignment: { [topic]: partitions.filter(partition => partition % ids.length === index) }, userData: Buffer.alloc(0)
          })
        }))
      }
    })
    const { protocol } = await oneMemberLeaves(defer, { partitionAssigners: [byPartition] })
    expectEqual(protocol, 'ByPartition', 'protocol')
  },

  async 'groups/are-listed-described-and-deleted'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin, 2)
    const groupId = unique('group')
    const member = await join(defer, new Tally(), 'only', groupId, topic)
    await until('partitions assigned', () => member.partitions.length === 2)
    expect((await admin.listGroups()).groups.some(group => group.groupId === groupId && group.protocolType === 'consumer'), 'not listed')
    const { groups: [stable] } = await admin.describeGroups([groupId])
    expectEqual([stable.state, stable.members.length, stable.protocol], ['Stable', 1, 'RoundRobinAssigner'], 'group')
    expectEqual(stable.members[0].clientId, 'ottla-compat', 'client id')
    expectEqual(AssignerProtocol.MemberAssignment.decode(stable.members[0].memberAssignment).assignment, { [topic]: [0, 1] }, 'assignment')
    await expectError('type', 'NON_EMPTY_GROUP', async () => {
      await admin.deleteGroups([groupId]).catch(error => { throw error.groups?.[0]?.error ?? error })
    })
    await member.consumer.disconnect()
    await until('group empty', async () => (await admin.describeGroups([groupId])).groups[0].state === 'Empty')
    expectEqual((await admin.deleteGroups([groupId]))[0].errorCode, 0, 'error code')
    expect(!(await admin.listGroups()).groups.some(group => group.groupId === groupId), 'still listed')
  },

  async 'groups/offsets-are-set-reset-and-found'(defer) {
    const admin = await adminOf(defer)
    const topic = await newTopic(admin, 2)
    const producer = await producerOf(defer)
    for (const partition of [0, 1]) await send(producer, topic, messagesOf(50, partition))
    const groupId = unique('group')
    const committed = async () => {
      const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] })
      return partitions.sort((a, b) => a.partition - b.partition).map(({ offset }) => offset)
    }
    expectEqual(await committed(), ['-1', '-1'], 'offsets of a new group')
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '20' }, { partition: 1, offset: '30' }] })
    expectEqual(await committed(), ['20', '30'], 'offsets set')
    await admin.resetOffsets({ groupId, topic, earliest: false })
    expectEqual(await admin.fetchOffsets({ groupId, topics: [topic], resolveOffsets: true })
      .then(([{ partitions }]) => partitions.map(({ offset }) => offset)), ['50', '50'], 'offsets reset to the end')
  }
}

await main({
  profile: PROFILE,
  checks,
  async write(defer, topic, codec, count) {
    const admin = await adminOf(defer)
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
    await send(await producerOf(defer), topic, messagesOf(count), codec)
  },
  async read(defer, topic, count, profile) {
    compare((await consume(defer, topic, count)).map(recordOf), profile)
  }
})
