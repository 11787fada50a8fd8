-- One step of a publication: nothing is written once a newer one has begun.
--
-- KEYS: the newest publication begun, snapshot, ranges that are loading, current catalog version.
-- ARGV: cut, as_of; prefixes of the keys of bases, chunks, fresh events, ranks, catalogs; a catalog version and its
--       document, and the snapshot, which end the publication, or nothing; sources and the lengths of
--       their tiles as JSON, or nothing; the tiles of all of them, one after another; profile and ranks of others.
-- Returns the newer publication, or nothing.

local CUT, AS_OF = tonumber(ARGV[1]), tonumber(ARGV[2])
local BASE, CHUNK, FRESH, RANK, CATALOG = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local VERSION, DOCUMENT, SNAPSHOT = ARGV[8], ARGV[9], ARGV[10]
local BASES, TILES, RANKS = ARGV[11], ARGV[12], 13
local call = redis.call

local held = call('HMGET', KEYS[1], 'cut', 'as_of')
if held[1] then
  local cut, as_of = tonumber(held[1]), tonumber(held[2])
  if CUT < cut or (CUT == cut and AS_OF < as_of) then return held end
end
call('HSET', KEYS[1], 'cut', ARGV[1], 'as_of', ARGV[2])

local function write_bases(sources, lengths)
  local bases, chunks, fresh = {}, {}, {}
  local start = 1
  for place = 1, #sources do
    local source = sources[place]
    bases[2 * place - 1], bases[2 * place] = BASE .. source, TILES:sub(start, start + lengths[place] - 1)
    start = start + lengths[place]
    chunks[place], fresh[place] = CHUNK .. source, FRESH .. source
  end
  call('MSET', unpack(bases))
  call('DEL', unpack(chunks))
  -- Most sources of a first publication have nothing fresh: they are asked about all at once.
  if call('EXISTS', unpack(fresh)) == 0 then return end
  local first_left = string.format('%.0f-0', CUT + 1)
  for place = 1, #fresh do
    if call('XTRIM', fresh[place], 'MINID', '=', first_left) > 0 and call('XLEN', fresh[place]) == 0 then
      call('DEL', fresh[place])
    end
  end
end

if BASES ~= '' then write_bases(unpack(cjson.decode(BASES))) end
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
