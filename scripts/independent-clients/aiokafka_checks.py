"""What aiokafka must be able to do with the development broker.

Usage: aiokafka_checks.py ADDRESS before|after
"before" fills the broker; "after" runs when the broker was killed and started again.
"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

TOPIC = "orders"
PARTITIONS = 4
GROUP = "readers"
LIMIT = 60


async def until(what, state):
    """Waits until `state()` is true, while the loop goes on."""
    deadline = asyncio.get_running_loop().time() + LIMIT
    while not state():
        if asyncio.get_running_loop().time() > deadline:
            raise SystemExit(f"not within {LIMIT} s: {what}")
        await asyncio.sleep(0.02)


class Member:
    """A member of the group that writes down what it reads, and commits it."""

    def __init__(self, address, group=GROUP):
        self.consumer = AIOKafkaConsumer(
            TOPIC,
            bootstrap_servers=address,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            heartbeat_interval_ms=200,
        )
        self.read = []

    async def start(self):
        await self.consumer.start()
        self.task = asyncio.create_task(self.run())

    async def run(self):
        async for record in self.consumer:
            self.read.append((record.partition, record.offset, record.key, record.value))
            try:
                await self.consumer.commit()
            except Exception as error:  # A rebalance in between: another member reads it again.
                print(f"  commit not taken: {error!r}", file=sys.stderr)

    def has(self):
        return len(self.consumer.assignment())

    async def stop(self):
        self.task.cancel()
        await self.consumer.stop()


async def produce(address, first, last):
    producer = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True, acks="all")
    await producer.start()
    sent = [
        await producer.send(TOPIC, key=f"key-{n % 10}".encode(), value=f"{n:05}".encode())
        for n in range(first, last)
    ]
    await asyncio.gather(*sent)
    await producer.stop()


def values(*members):
    return sorted(value for member in members for (_, _, _, value) in member.read)


def expect(first, last):
    return [f"{n:05}".encode() for n in range(first, last)]


def in_order(member):
    """Within a partition offsets rise, and within a key values do."""
    offsets, latest = {}, {}
    for partition, offset, key, value in member.read:
        assert offset > offsets.get(partition, -1), (partition, offset)
        assert value > latest.get(key, b""), (key, value)
        offsets[partition], latest[key] = offset, value


async def before(address):
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    answer = await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1), NewTopic("other", 1, 1)])
    assert all(error[1] == 0 for error in answer.topic_errors), answer
    again = await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    assert for_code(again.topic_errors[0][1]) is TopicAlreadyExistsError, again
    assert set(await admin.list_topics()) == {TOPIC, "other"}
    described = await admin.describe_topics([TOPIC])
    assert len(described[0]["partitions"]) == PARTITIONS, described
    await admin.close()

    await produce(address, 0, 300)
    first = Member(address)
    await first.start()
    await until("the first member reads everything", lambda: len(first.read) >= 300)
    assert first.has() == PARTITIONS
    second = Member(address)
    await second.start()
    await until("two members share", lambda: (first.has(), second.has()) == (2, 2))
    await produce(address, 300, 600)
    await until("both read", lambda: len(first.read) + len(second.read) >= 600)
    assert values(first, second) == expect(0, 600)
    assert second.read, "the second member read nothing"
    in_order(first)
    in_order(second)
    await second.stop()
    await until("the first member has all again", lambda: first.has() == PARTITIONS)
    await produce(address, 600, 700)
    await until("it reads on", lambda: len(first.read) + len(second.read) >= 700)
    assert values(first, second) == expect(0, 700)
    committed = [await first.consumer.committed(TopicPartition(TOPIC, p)) for p in range(PARTITIONS)]
    assert sum(committed) == 700, committed
    await first.stop()


async def after(address):
    await produce(address, 700, 800)
    member = Member(address)
    await member.start()
    await until("what is new", lambda: len(member.read) >= 100)
    assert values(member) == expect(700, 800)
    await member.stop()
    everything = Member(address, group="others")
    await everything.start()
    await until("everything", lambda: len(everything.read) >= 800)
    assert values(everything) == expect(0, 800)
    in_order(everything)
    await everything.stop()


if __name__ == "__main__":
    address, step = sys.argv[1:]
    asyncio.run(asyncio.wait_for({"before": before, "after": after}[step](address), 5 * LIMIT))
