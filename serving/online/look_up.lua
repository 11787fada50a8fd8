-- Everything that a decision about one profile reads, as of one moment.
--
-- KEYS: current catalog version, snapshot, counter of seq, ranges that are loading; the identifier that was asked for,
--       absent when a profile id was.
-- ARGV: prefixes of the keys of identifiers, profiles, bases, chunks, fresh events, ranks; the profile id if nobody is
--       known; a profile id that the value of a `user` identifier may be, or nothing.
-- Returns [profile id, catalog version, snapshot, seq, whether a range is loading, ranks, sources]; of a source its id,
-- base, chunk and the entries of its fresh events.

local IDENT, PROFILE, BASE, CHUNK, FRESH, RANK = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local call = redis.call

local function asked_for()
  if ARGV[8] ~= '' and call('EXISTS', PROFILE .. ARGV[8]) == 1 then return ARGV[8] end
  return KEYS[5] and call('GET', KEYS[5]) or ARGV[7]
end

-- Members of a profile; of a retired id those of the profile that its first identifier is in now.
local function members_of(id)
  local members, first = {}, nil
  local fields = call('HGETALL', PROFILE .. id)
  for place = 1, #fields, 2 do
    if fields[place] == 'first' then first = fields[place + 1] end
    if fields[place]:find(':', 1, true) then members[#members + 1] = fields[place] end
  end
  if #members > 0 or not first then return id, members end
  local now = call('GET', IDENT .. first)
  if not now or now == id then return id, members end
  return members_of(now)
end

local version = call('GET', KEYS[1])

local function source(member)
  local chunk = call('HMGET', CHUNK .. member, 'version', 'hi', 'tiles')
  -- A chunk has the bases of one version; the events that it was made of are still there.
  local usable = chunk[1] and chunk[1] == version
  local start = usable and ('(' .. chunk[2] .. '-0') or '-'
  return {member, call('GET', BASE .. member), usable and chunk[3], call('XRANGE', FRESH .. member, start, '+')}
end

local id, members = members_of(asked_for())
local sources = {}
for place = 1, #members do sources[place] = source(members[place]) end
return {id, version, call('GET', KEYS[2]), call('GET', KEYS[3]), call('EXISTS', KEYS[4]), call('GET', RANK .. id), sources}
