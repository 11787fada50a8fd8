-- wrk: POSTs to one path. Arguments: `none` sends a body that nothing is made of, `single` one event a request,
-- `batch` a hundred; every event has an id of its own. Prints its figures as one line of JSON.
local kind, key, run = nil, nil, nil
local sent, thread = 0, 0
local threads = 0

function setup(each)
  threads = threads + 1
  each:set('thread', threads)
end

function init(arguments)
  kind, key, run = arguments[1], arguments[2], arguments[3]
  wrk.method = 'POST'
  wrk.headers['content-type'] = 'application/json'
  wrk.headers['authorization'] = 'Bearer ' .. key
end

local function event()
  sent = sent + 1
  return string.format(
    '{"type":"track","messageId":"%s-%d-%08d","userId":"user-%d","event":"purchase","properties":{"amount":%d.%02d,' ..
    '"category":"books","order":"o-%d","first":true},"context":{"library":{"name":"wrk","version":"4"}}}',
    run, thread, sent, sent % 5000, sent % 90, sent % 100, sent)
end

function request()
  if kind == 'none' then return wrk.format(nil, nil, nil, '{"series":[]}') end
  if kind == 'single' then return wrk.format(nil, nil, nil, event()) end
  local events = {}
  for place = 1, 100 do events[place] = event() end
  return wrk.format(nil, nil, nil, '{"batch":[' .. table.concat(events, ',') .. ']}')
end

function done(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format('{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"failed":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed))
end
