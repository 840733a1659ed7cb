-- As document.lua, with one field of the hash per field of the document: after the version come the number of fields and
-- their names and values; -1 fields are a delete.
local try, ttl, mark = redis.pcall, ARGV[1], ARGV[2]
local answers, at = {}, 3
-- Arguments of one call, well below what Lua's stack holds.
local SLICE = 1000
for i = 1, #KEYS do
  local key, version, count = KEYS[i], ARGV[at], tonumber(ARGV[at + 1])
  local first = at + 2
  local last = first + 2 * math.max(count, 0) - 1
  at = last + 1
  local held, answer = try('HGET', key, 'v'), 1
  if type(held) == 'table' then
    answer = '!' .. held.err
  elseif held and #held ~= 19 then
    answer = '?' .. held
  elseif held and held > version then
    answer = held
  else
    local done = try('HSET', key, 'v', version)
    if type(done) == 'table' then
      answer = '!' .. done.err
    else
      local keep = { v = true }
      for from = first, last, SLICE do
        local to = math.min(from + SLICE - 1, last)
        local put = try('HSET', key, unpack(ARGV, from, to))
        -- The rest is written by the next try, at the same version.
        if type(put) == 'table' then answer = '!' .. put.err end
        for name = from, to, 2 do keep[ARGV[name]] = true end
      end
      if held then
        for _, name in ipairs(try('HKEYS', key)) do
          if not keep[name] then try('HDEL', key, name) end
        end
      end
      if count < 0 then
        try('PEXPIRE', key, mark)
      elseif ttl ~= '0' then
        try('PEXPIRE', key, ttl)
      elseif held then
        try('PERSIST', key)
      end
    end
  end
  answers[i] = answer
end
return answers
