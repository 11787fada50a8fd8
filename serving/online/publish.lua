-- One step of a publication: nothing is written once a newer one has begun.
--
-- KEYS: the newest publication begun, snapshot, ranges that are loading, current catalog version.
-- ARGV: cut, as_of; prefixes of the keys of bases, chunks, fresh events, ranks, catalogs; a catalog version and its
--       document, and the snapshot, which end the publication, or nothing; the number of bases, source and tiles of
--       each; profile and ranks of others.
-- Returns the newer publication, or nothing.

local CUT, AS_OF = tonumber(ARGV[1]), tonumber(ARGV[2])
local BASE, CHUNK, FRESH, RANK, CATALOG = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local VERSION, DOCUMENT, SNAPSHOT = ARGV[8], ARGV[9], ARGV[10]
local BASES, RANKS = 12, 12 + 2 * tonumber(ARGV[11])
local call = redis.call

local held = call('HMGET', KEYS[1], 'cut', 'as_of')
if held[1] then
  local cut, as_of = tonumber(held[1]), tonumber(held[2])
  if CUT < cut or (CUT == cut and AS_OF < as_of) then return held end
end
call('HSET', KEYS[1], 'cut', ARGV[1], 'as_of', ARGV[2])

local first_left = string.format('%.0f-0', CUT + 1)
for place = BASES, RANKS - 1, 2 do
  local source = ARGV[place]
  call('SET', BASE .. source, ARGV[place + 1])
  call('DEL', CHUNK .. source)
  if call('XTRIM', FRESH .. source, 'MINID', '=', first_left) > 0 and call('XLEN', FRESH .. source) == 0 then
    call('DEL', FRESH .. source)
  end
end
for place = RANKS, #ARGV, 2 do call('SET', RANK .. ARGV[place], ARGV[place + 1]) end
if VERSION ~= '' then
  call('SET', CATALOG .. VERSION, DOCUMENT)
  call('SET', KEYS[4], VERSION)
  call('SET', KEYS[2], SNAPSHOT)
  local ranges = call('HGETALL', KEYS[3])
  for place = 1, #ranges, 2 do
    if tonumber(ranges[place + 1]) <= CUT then call('HDEL', KEYS[3], ranges[place]) end
  end
end
return {}
