-- wrk: GETs with a user at random. Arguments: path, key, how many users there are, `feast` to POST as its server wants.
-- Prints its figures as one line of JSON.
local path, key, users, kind

function init(arguments)
  path, key, users, kind = arguments[1], arguments[2], tonumber(arguments[3]), arguments[4]
  math.randomseed(7)
  if key ~= '' then wrk.headers['authorization'] = 'Bearer ' .. key end
  if kind == 'feast' then
    wrk.method = 'POST'
    wrk.headers['content-type'] = 'application/json'
  end
end

function request()
  local user = math.random(0, users - 1)
  if kind ~= 'feast' then return wrk.format(nil, path .. 'user-' .. user) end
  local names = {}
  for place = 1, 10 do names[place] = '"aggregates:f' .. (place - 1) .. '"' end
  local body = '{"features":[' .. table.concat(names, ',') .. '],"entities":{"source_id":["user-' .. user .. '"]}}'
  return wrk.format(nil, path, nil, body)
end

function done(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p95_ms":%.3f,"p99_ms":%.3f,"failed":%d}\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    failed))
end
