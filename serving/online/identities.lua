-- Writes profiles as a replay gives them: either a publication, or a record that changes profiles, with its change.
--
-- KEYS: counter of seq, log, last appended_at, identity settings, identifiers kept apart, profiles that were erased.
-- ARGV: prefixes of the keys of identifiers and profiles; the seq that the replay goes up to; what to write
--       (MessagePack: see _packed in identities.py).
-- Returns {'moved'} when nothing was written because the log has gone on, else {seq, profiles not written...}.

local SEQ, LOG, APPENDED_AT, SETTINGS, APART, ERASED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ERASED_KEEP_S = 7 * 86400 -- no publication takes that long
local IDENT, PROFILE = ARGV[1], ARGV[2]
local seq = tonumber(ARGV[3])
local written = cmsgpack.unpack(ARGV[4])
local call = redis.call

local function whole(number) return string.format('%.0f', number) end

-- Whether a record that the replay has not seen brought somebody into the profile. Who left it since is found elsewhere.
local function is_newer(profile_id)
  return tonumber(call('HGET', PROFILE .. profile_id, 'seq') or '0') > seq
end

-- Whether a record that the replay has not seen erased the profile: nothing else is left to tell.
local function is_erased(profile_id)
  return tonumber(call('HGET', ERASED, profile_id) or '0') > seq
end

local function leave(identifier, profile_id)
  if profile_id then call('HDEL', PROFILE .. profile_id, identifier) end
end

local function write(profile)
  local id, first, since, members = unpack(profile)
  if is_erased(id) then return false end
  local profiles = {}
  for place = 1, #members, 2 do
    local held = call('GET', IDENT .. members[place]) or nil
    if held and is_newer(held) then return false end
    profiles[place] = held
  end
  for place = 1, #members, 2 do
    if profiles[place] ~= id then leave(members[place], profiles[place]) end
    call('SET', IDENT .. members[place], id)
  end
  call('HSET', PROFILE .. id, 'first', first, 'since', whole(since), 'seq', whole(seq), unpack(members))
  return true
end

local record = written.record
if (record or written.guarded) and tonumber(call('GET', SEQ) or '0') ~= seq then return {'moved'} end
if record then
  seq = seq + 1
  local now = math.max(tonumber(record.now), tonumber(call('GET', APPENDED_AT) or '0'))
  call('SET', SEQ, whole(seq))
  call('SET', APPENDED_AT, whole(now))
  call('XADD', LOG, whole(seq) .. '-0', 'at', whole(now), 'type', record.type, 'record', record.text)
end

local held_back = {}
for _, profile in ipairs(written.profiles) do
  if not write(profile) then held_back[#held_back + 1] = profile[1] end
end
for _, retired in ipairs(written.retired) do
  if not is_erased(retired[1]) then call('HSET', PROFILE .. retired[1], 'first', retired[2]) end
end
for _, identifier in ipairs(written.unknown) do
  leave(identifier, call('GET', IDENT .. identifier) or nil)
  call('DEL', IDENT .. identifier)
end
for _, profile_id in ipairs(written.forgotten) do
  call('DEL', PROFILE .. profile_id)
  call('HSET', ERASED, profile_id, whole(seq))
  call('EXPIRE', ERASED, ERASED_KEEP_S)
end
for identifier, others in pairs(written.apart) do
  if others == '' then
    call('HDEL', APART, identifier)
  elseif record then
    call('HSET', APART, identifier, others)
  else
    call('HSETNX', APART, identifier, others)
  end
end
if written.settings ~= '' then call('SET', SETTINGS, written.settings, 'NX') end
return {whole(seq), unpack(held_back)}
