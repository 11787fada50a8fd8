-- Everything that a decision about one profile reads, as of one moment.
--
-- Before it stand the names of the project's keys (serving/online/reading.py): CURRENT and COMING catalog version,
-- SNAPSHOT, counter SEQ, LOADING ranges; prefixes IDENT, PROFILE, BASE, CHUNK, FRESH, RANK, EVENT. To send them along each
-- time costs more than all the rest of a question.
--
-- KEYS: that of the identifier, or of the profile, that was asked for.
-- ARGV: the profile id that was asked for, or nothing; a profile id that the value of a `user` identifier may be, or
--       nothing; `id` when a profile id was asked for; how many fresh events of a source are read at most (0: all); and
--       event ids.
-- Returns [profile id, nothing when nobody is known by the identifier, catalog version, the coming one, snapshot, seq, whether a range is loading, ranks, sources, which
-- of the event ids are known]; of a source its id, base, chunk and the entries of its fresh events, none when there are
-- too many.

local MOST = tonumber(ARGV[4])
local call = redis.call

local function asked_for()
  if ARGV[2] ~= '' and call('EXISTS', PROFILE .. ARGV[2]) == 1 then return ARGV[2] end
  return ARGV[3] == '' and call('GET', KEYS[1]) or ARGV[1]
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

local id, members = members_of(asked_for())
local all = call('MGET', CURRENT, COMING, SNAPSHOT, SEQ, RANK .. id)
local version = all[1]

local function source(member)
  local chunk = call('HMGET', CHUNK .. member, 'version', 'hi', 'tiles')
  -- A chunk has the bases of one version; the events that it was made of are still there.
  local usable = chunk[1] and chunk[1] == version
  local start = usable and ('(' .. chunk[2] .. '-0') or '-'
  local fresh
  if MOST == 0 then
    fresh = call('XRANGE', FRESH .. member, start, '+')
  else
    fresh = call('XRANGE', FRESH .. member, start, '+', 'COUNT', MOST + 1)
    if #fresh > MOST then fresh = false end
  end
  return {member, call('GET', BASE .. member), usable and chunk[3], fresh}
end

local sources = {}
for place = 1, #members do sources[place] = source(members[place]) end
local known = {}
for place = 5, #ARGV do known[place - 4] = call('EXISTS', EVENT .. ARGV[place]) end
return {id, version, all[2], all[3], all[4], call('EXISTS', LOADING), all[5], sources, known}
