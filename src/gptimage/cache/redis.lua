local p, op, key = ARGV[1], ARGV[2], ARGV[3]
local counts, used, ends, size = p..'counts', p..'used', p..'ends', p..'size'
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000

local function forget(k)
  redis.call('DEL', p..'head:'..k, p..'body:'..k)
  redis.call('ZREM', used, k)
  redis.call('ZREM', ends, k)
  local bytes = redis.call('HGET', size, k)
  if not bytes then return 0 end
  redis.call('HDEL', size, k)
  redis.call('HINCRBY', counts, 'bytes', -bytes)
  return 1
end

local function sweep()
  for _, k in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now)) do forget(k) end
end

local function touch(k)
  redis.call('ZADD', used, redis.call('HINCRBY', counts, 'uses', 1), k)
end

if op == 'forget' then
  return forget(key)
elseif op == 'save' then
  local bytes, seconds, limit = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
  redis.call('HSET', size, key, bytes)
  local total = redis.call('HINCRBY', counts, 'bytes', bytes)
  touch(key)
  if seconds then
    redis.call('ZADD', ends, now + seconds, key)
    redis.call('PEXPIRE', p..'head:'..key, math.floor(seconds * 1000))
    redis.call('PEXPIRE', p..'body:'..key, math.floor(seconds * 1000))
  end
  if limit and total > limit then
    sweep()
    while tonumber(redis.call('HGET', counts, 'bytes')) > limit do
      local oldest = redis.call('ZRANGE', used, 0, 0)[1]
      if not oldest then break end
      forget(oldest)
      redis.call('HINCRBY', counts, 'evictions', 1)
    end
  end
elseif op == 'count' then
  if redis.call('HEXISTS', size, key) == 1 then touch(key) end
  local nanos = redis.call('HGET', p..'head:'..key, 'nanos') or 0
  redis.call('HINCRBY', counts, 'hits', ARGV[4])
  redis.call('HINCRBY', counts, 'misses', ARGV[5])
  redis.call('HINCRBY', counts, 'nanos', ARGV[4] * nanos)
elseif op == 'stats' then
  sweep()
  redis.call('HSET', counts, 'entries', redis.call('HLEN', size))
  return redis.call('HGETALL', counts)
end
