"""Lua scripts of the directory and the bus in Redis. Each runs atomically and uses keys of one hash slot.

Times are those of Redis (`TIME`), so nodes need no common clock. Leases are scores of a sorted set: an instance whose score
is in the past has ended and does not return. The record of a room is a hash; after a release its instance is empty and its
epoch stays.
"""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    keys: int
    "Number of its keys; they come before its other arguments."
    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

ENDED, FULL = -1, -2
"""Answers of ANNOUNCE; 1: the instance was known, 0: it was not."""

ANNOUNCE = Script(
    2,
    _NOW
    + """
local until_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
if until_ms and tonumber(until_ms) <= now then return -1 end
if not until_ms then
  if redis.call('ZCOUNT', KEYS[1], now, '+inf') >= tonumber(ARGV[5]) then return -2 end
  local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[4], 'LIMIT', 0, 1000)
  for _, instance in ipairs(old) do
    redis.call('ZREM', KEYS[1], instance)
    redis.call('HDEL', KEYS[2], instance)
  end
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return until_ms and 1 or 0
""",
)
"""Keys: leases, announcements. Arguments: instance, announcement, lease, time after which ended instances are forgotten,
limit of nodes; times in ms."""

WITHDRAW = Script(
    2,
    _NOW
    + """
local until_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not until_ms or tonumber(until_ms) > now then redis.call('ZADD', KEYS[1], now, ARGV[1]) end
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
""",
)

NODES = Script(
    2,
    _NOW
    + """
local instances = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'LIMIT', 0, ARGV[1])
if #instances == 0 then return {} end
return {instances, redis.call('HMGET', KEYS[2], unpack(instances))}
""",
)

IS_ALIVE = Script(
    1,
    _NOW
    + """
local until_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
if until_ms and tonumber(until_ms) > now then return 1 end
return 0
""",
)

CLAIM = Script(
    1,
    """
local record = redis.call('HMGET', KEYS[1], 'node', 'instance', 'epoch')
local epoch, known = tonumber(record[3] or 0), tonumber(ARGV[3])
local holder = record[2] or ''
if holder == ARGV[2] and epoch >= known then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return {record[1], holder, epoch}
end
if holder ~= '' and holder ~= ARGV[4] and holder ~= ARGV[5] and epoch >= known then
  return {record[1], holder, epoch}
end
epoch = math.max(epoch, known) + 1
redis.call('HSET', KEYS[1], 'node', ARGV[1], 'instance', ARGV[2], 'epoch', epoch)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return {ARGV[1], ARGV[2], epoch}
""",
)
"""Key: record of the room. Arguments: node, instance, known epoch, two dead instances, lifetime in ms."""

RELEASE = Script(
    2,
    """
local record = redis.call('HMGET', KEYS[1], 'instance', 'epoch')
if record[1] == ARGV[1] and tonumber(record[2]) == tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'node', '', 'instance', '')
  redis.call('DEL', KEYS[2])
  return 1
end
return 0
""",
)

SAVE = Script(
    2,
    """
local record = redis.call('HMGET', KEYS[1], 'instance', 'epoch')
local epoch, known = tonumber(record[2] or -1), tonumber(ARGV[2])
if epoch > known or (epoch == known and record[1] ~= ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1
""",
)
"""Keys: record and snapshot of the room. Arguments: instance, epoch, snapshot, lifetime in ms."""

PUBLISH = Script(
    1,
    """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'm', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
""",
)
"""Key: stream. Arguments: message, number of messages to keep, lifetime in ms."""
