-- The chunk of a source, unless its base or its chunk has changed since they were read.
--
-- KEYS: base, chunk. ARGV: SHA-1 of the base as read (of nothing: of the empty text), `hi` of the chunk as read or
-- nothing; version, hi, events, tiles of the new one. Returns whether it was written.

local base = redis.call('GET', KEYS[1]) or ''
if redis.sha1hex(base) ~= ARGV[1] then return 0 end
if (redis.call('HGET', KEYS[2], 'hi') or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'version', ARGV[3], 'hi', ARGV[4], 'events', ARGV[5], 'tiles', ARGV[6])
return 1
