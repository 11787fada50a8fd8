-- Appends a batch of records: dedup, seq, log, fresh events and links, in one atomic step.
--
-- The rules of links are those of dsl/identity_graph.py; a property test holds both equal.
-- Every key is made from a prefix that carries the project's hash tag, so all of them share its slot.
--
-- KEYS: counter of seq, log, late lane, last appended_at, identity settings, identifiers kept apart, metrics.
-- ARGV: prefixes of the keys of event ids, identifiers, profiles, fresh events; now (ms), time to live of an event id
--       (ms), namespace of profile ids (16 bytes), records that may wait (0: no limit), the items (MessagePack: see Item
--       in append.py).
-- Returns JSON: for each item [code, seq, profile id, source id, conflicts]. Errors LOGFULL and OOM: nothing was done.

local SEQ, LOG, LATE, APPENDED_AT, SETTINGS, APART = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local METRICS, MAX_WAITING = KEYS[7], tonumber(ARGV[8])
local EVENT, IDENT, PROFILE, FRESH = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local NOW, KEEP_MS, NAMESPACE = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local UNKNOWN = '*'
local NONE = cjson.null
local PREVIOUS_KINDS = {'user:', 'external:', 'anon:', 'device:'}
local MOST_WORDS = 2000
local call = redis.call

-- A command costs far more than a word of it. So what is known of the event ids and identifiers of a batch is read
-- before its first item, by one command each, kept here as it changes, and written after its last item.
--
-- seen: event id -> what is known of it; profiles: identifier -> profile id; false is nothing.
local seen, profiles = {}, {}
local ids_to_write, names_to_write = {}, {}

local max_users, max_identifiers, blocked = 1, 100, nil
local kept_apart = nil

local function read_settings(text)
  if not text then return end
  local settings = cjson.decode(text)
  max_users, max_identifiers = settings.max_user_ids_per_profile, settings.max_identifiers_per_profile
  blocked = nil
  for _, value in ipairs(settings.blocked) do
    blocked = blocked or {}
    blocked[value] = true
  end
end

local function is_blocked(identifier)
  if not blocked then return false end
  local value = identifier:match('^%a+:%s*(.-)%s*$')
  return blocked[string.lower(value)] == true
end

-- Identifiers ---------------------------------------------------------------------------------------------------------

-- UUIDv5 of a name.
local function new_profile_id(name)
  local hex = redis.sha1hex(NAMESPACE .. name)
  local variant = string.format('%x', tonumber(hex:sub(17, 17), 16) % 4 + 8)
  return hex:sub(1, 8) .. '-' .. hex:sub(9, 12) .. '-5' .. hex:sub(14, 16)
    .. '-' .. variant .. hex:sub(18, 20) .. '-' .. hex:sub(21, 32)
end

local function names_profile(identifier)
  return identifier and #identifier == 41 and identifier:find('^user:%x+%-%x+%-5%x+%-%x+%-%x+$')
end

-- A user value that is a known profile id stands for the first identifier of that profile.
local function addressed(identifier)
  if names_profile(identifier) then
    return call('HGET', PROFILE .. identifier:sub(6), 'first') or identifier
  end
  return identifier
end

local function profile_of(identifier)
  local id = profiles[identifier]
  if id == nil then
    id = call('GET', IDENT .. identifier)
    profiles[identifier] = id
  end
  return id
end

-- The identifier that an alias means by a value without a kind: a known one, or one that the event itself names; nil when
-- the value is blocked.
local function previous_of(value, own)
  if is_blocked('user:' .. value) then return nil end
  for _, kind in ipairs(PREVIOUS_KINDS) do
    local identifier = addressed(kind .. value)
    if own[identifier] or profile_of(identifier) then return identifier end
  end
  return 'anon:' .. value
end

-- Source first; second result: what an alias joins to it.
local function understood(mentioned, previous)
  if previous == '' and not blocked and not names_profile(mentioned[1]) then return mentioned, nil end
  local identifiers, met = {}, {}
  for _, identifier in ipairs(mentioned) do
    if not is_blocked(identifier) then
      identifier = addressed(identifier)
      if not met[identifier] then
        identifiers[#identifiers + 1] = identifier
        met[identifier] = true
      end
    end
  end
  if #identifiers == 0 or previous == '' then return identifiers, nil end
  local alias = previous_of(previous, met)
  if not alias or alias == identifiers[1] then return identifiers, nil end
  for place = #identifiers, 2, -1 do
    if identifiers[place] == alias then table.remove(identifiers, place) end
  end
  return identifiers, alias
end

-- Groups: profiles, and those in the making, whose id is '' ----------------------------------------------------------

local function add(group, identifier)
  group.members[identifier] = true
  group.size = group.size + 1
  if identifier:sub(1, 5) == 'user:' then group.users = group.users + 1 end
  if identifier:sub(1, 6) == 'email:' then group.emails = group.emails + 1 end
end

local function group_of(identifier)
  local id = profile_of(identifier)
  local group = {id = id or '', first = identifier, since = 0, members = {}, size = 0, users = 0, emails = 0}
  if id then
    local fields = call('HGETALL', PROFILE .. id)
    for place = 1, #fields, 2 do
      if fields[place]:find(':', 1, true) then
        add(group, fields[place])
      elseif fields[place] == 'since' then
        group.since = tonumber(fields[place + 1])
      end
    end
  end
  if not group.members[identifier] then add(group, identifier) end
  return group
end

local function are_kept_apart(own, other)
  if kept_apart == nil then kept_apart = call('EXISTS', APART) == 1 end
  if not kept_apart then return false end
  for member in pairs(own.members) do
    local listed = call('HGET', APART, member)
    for _, enemy in ipairs(listed and cjson.decode(listed) or {}) do
      if other.members[enemy] then return true end
    end
  end
  return false
end

local function refusal(own, other, weaker, by_alias)
  if are_kept_apart(own, other) then return 'unmerged' end
  if not by_alias then
    local both = own.users > 0 and other.users > 0
    if both and max_users > 0 and own.users + other.users > max_users then return 'users' end
    local shared = weaker:sub(1, 7) == 'device:' or weaker:sub(1, 5) == 'anon:'
    if shared and not both and own.emails > 0 and other.emails > 0 then return 'emails' end
  end
  if own.size + other.size > max_identifiers then return 'identifiers' end
  return nil
end

-- A profile over none, a user over none, else the older.
local function survives(own, other)
  if own.id == '' or other.id == '' then return other.id == '' end
  if (own.users > 0) ~= (other.users > 0) then return own.users > 0 end
  return own.since < other.since
end

local function leads_to(identifier, id)
  profiles[identifier] = id
  local count = #names_to_write
  names_to_write[count + 1], names_to_write[count + 2] = IDENT .. identifier, id
end

local function belongs(identifier, group, seq)
  leads_to(identifier, group.id)
  call('HSET', PROFILE .. group.id, identifier, seq, 'seq', seq)
end

-- The profile of identifiers that nobody was known by.
local function begin_profile(first, members, seq)
  local id = new_profile_id(first)
  local fields = {'HSET', PROFILE .. id, 'first', first, 'since', seq, 'seq', seq}
  for identifier in pairs(members) do
    leads_to(identifier, id)
    fields[#fields + 1] = identifier
    fields[#fields + 1] = seq
  end
  call(unpack(fields))
  return id
end

local function join(own, other, seq)
  local stays, goes = own, other
  if not survives(own, other) then stays, goes = other, own end
  for identifier in pairs(goes.members) do
    if goes.id ~= '' then call('HDEL', PROFILE .. goes.id, identifier) end
    if stays.id ~= '' then belongs(identifier, stays, seq) end
    add(stays, identifier)
  end
  return stays
end

-- Links every other identifier to the source; the profile of the source and the links that were refused.
local function link(identifiers, alias, seq)
  local source, conflicts, own = identifiers[1], {}, nil
  local id = profile_of(source)
  if #identifiers == 1 and not alias then return id or begin_profile(source, {[source] = true}, seq), conflicts end
  local function link_one(weaker, by_alias)
    -- The common event links what has long been linked: it reads one key an identifier and nothing else.
    if not own and id and profile_of(weaker) == id then return end
    own = own or group_of(source)
    if own.members[weaker] then return end
    local other = group_of(weaker)
    local reason = refusal(own, other, weaker, by_alias)
    if reason then
      conflicts[#conflicts + 1] = {reason, source, weaker, own.id, other.id}
    else
      own = join(own, other, seq)
    end
  end
  if alias then link_one(alias, true) end
  for place = 2, #identifiers do link_one(identifiers[place], false) end
  if own then id = own.id ~= '' and own.id or nil end
  return id or begin_profile(source, own and own.members or {[source] = true}, seq), conflicts
end

-- The batch ----------------------------------------------------------------------------------------------------------

local held = call('MGET', SEQ, APPENDED_AT, SETTINGS)
local last = tonumber(held[1] or '0')
local appended_at = string.format('%.0f', math.max(NOW, tonumber(held[2] or '0')))
read_settings(held[3])

-- The profile of a source, or the one that it would get.
local function would_be(source)
  return source and (profile_of(source) or new_profile_id(source)) or ''
end

local function append_event(seq, event_id, identifiers, alias, record)
  local id, conflicts = link(identifiers, alias, seq)
  local entry, who, more = seq .. '-0', cjson.encode(identifiers), {}
  if alias then more = {'alias', alias} end
  if #conflicts > 0 then more[#more + 1], more[#more + 2] = 'conflicts', cjson.encode(conflicts) end
  call('XADD', LOG, entry, 'at', appended_at, 'id', event_id, 'who', who, 'record', record, unpack(more))
  call('XADD', FRESH .. identifiers[1], entry, 'record', record)
  return {'accepted', seq, id, identifiers[1], #conflicts > 0 and conflicts or nil}
end

local function append_settings(seq, event_id, record)
  call('XADD', LOG, seq .. '-0', 'at', appended_at, 'id', event_id, 'type', 'settings', 'record', record)
  call('SET', SETTINGS, record)
  read_settings(record)
  return {'accepted', seq, '', ''}
end

local function remember(event_id, known)
  seen[event_id] = known
  local count = #ids_to_write
  ids_to_write[count + 1], ids_to_write[count + 2] = EVENT .. event_id, known
end

local function wait(event_id, digest, mentioned, previous, record)
  remember(event_id, 'late:' .. digest)
  call('XADD', LATE, '*', 'at', appended_at, 'id', event_id, 'digest', digest, 'who', cjson.encode(mentioned),
    'previous', previous, 'record', record)
  call('HINCRBY', METRICS, 'late', 1)
end

local function accept(type, event_id, identifiers, alias, record)
  last = last + 1
  local seq = string.format('%.0f', last)
  if type == 'settings' then return append_settings(seq, event_id, record) end
  return append_event(seq, event_id, identifiers, alias, record)
end

local function append(item)
  local event_id, record, digest, mentioned, previous, is_late, entry, type = unpack(item, 1, 8)
  previous = previous or ''
  local lane = entry ~= '' and entry or is_late and 'late' or ''
  local identifiers, alias = understood(mentioned, previous)
  local source = identifiers[1]
  local is_checked = lane ~= '' and lane ~= 'late'
  local known = seen[event_id]
  if known then
    local state, known_digest = known:match('^(%w+):(.*)$')
    if known_digest ~= digest and known_digest ~= UNKNOWN and digest ~= UNKNOWN then
      return {'id_conflict', NONE, would_be(source), source or ''}
    end
    if state ~= 'late' then
      if is_checked then call('XDEL', LATE, lane) end
      return {'duplicate', state, would_be(source), source or ''}
    end
    if not is_checked then return {'late', NONE, would_be(source), source or ''} end
  end
  if type == 'event' and not source then return {'no_identifier', NONE, '', ''} end
  if lane == 'late' then
    wait(event_id, digest, mentioned, previous, record)
    return {'late', NONE, would_be(source), source}
  end
  local answer = accept(type, event_id, identifiers, alias, record)
  remember(event_id, answer[2] .. ':' .. digest)
  if is_checked then call('XDEL', LATE, lane) end
  return answer
end

local function read_ahead(prefix, names, found)
  for start = 1, #names, MOST_WORDS do
    local keys, stop = {}, math.min(start + MOST_WORDS - 1, #names)
    for place = start, stop do keys[place - start + 1] = prefix .. names[place] end
    local held = call('MGET', unpack(keys))
    for place = start, stop do found[names[place]] = held[place - start + 1] end
  end
end

local function names_of(items)
  local ids, identifiers = {}, {}
  for place = 1, #items do
    local item = items[place]
    ids[place] = item[1]
    for _, identifier in ipairs(item[4]) do identifiers[#identifiers + 1] = identifier end
  end
  return ids, identifiers
end

local function append_all(items)
  local ids, identifiers = names_of(items)
  read_ahead(EVENT, ids, seen)
  read_ahead(IDENT, identifiers, profiles)
  local answers = {}
  for place = 1, #items do answers[place] = append(items[place]) end
  return #answers > 0 and cjson.encode(answers) or '[]'
end

-- What was looked up moves from one stream to the other: it takes no more room than before.
local function asks_for_room(items)
  local new = 0
  for place = 1, #items do
    if items[place][7] == '' then new = new + 1 end
  end
  return new
end

local function write_names()
  for start = 1, #names_to_write, MOST_WORDS do
    call('MSET', unpack(names_to_write, start, math.min(start + MOST_WORDS - 1, #names_to_write)))
  end
end

-- Servers before Valkey 9.1 and Redis 8.4 are told of one id at a time.
local function write_ids()
  for start = 1, #ids_to_write, MOST_WORDS do
    local stop = math.min(start + MOST_WORDS - 1, #ids_to_write)
    local words = {unpack(ids_to_write, start, stop)}
    words[#words + 1], words[#words + 2] = 'PX', KEEP_MS
    local done = redis.pcall('MSETEX', (stop - start + 1) / 2, unpack(words))
    if type(done) == 'table' and done.err then
      for place = start, stop, 2 do call('SET', ids_to_write[place], ids_to_write[place + 1], 'PX', KEEP_MS) end
    end
  end
end

local items = cmsgpack.unpack(ARGV[9])
if MAX_WAITING > 0 then
  local new = asks_for_room(items)
  local waiting = call('XLEN', LOG) + call('XLEN', LATE)
  if new > 0 and waiting + new > MAX_WAITING then
    return redis.error_reply(string.format('LOGFULL %.0f records wait', waiting))
  end
end
-- Whether memory is full is asked once, when a script begins: then the first write is refused, and none was done before.

-- The counter is written even when something fails half-way: a number that the log has is never given again.
local before = last
local done, answers = pcall(append_all, items)
if last > before then call('MSET', SEQ, string.format('%.0f', last), APPENDED_AT, appended_at) end
write_names()
write_ids()
if not done then return redis.error_reply(type(answers) == 'table' and answers.err or answers) end
return answers
