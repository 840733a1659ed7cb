-- Whole documents under their versions: KEYS are hashes; ARGV is the time to live of documents and of marks in ms (0: for
-- ever), then each key's version and document, a NUL byte for a delete. Versions are 19 digits, compared as text: numbers here are
-- doubles. Each key has an answer of its own: 1 written, a version that is above ours, `!` and an error, `?` and what is
-- no version of ours.
local try, ttl, mark = redis.pcall, ARGV[1], ARGV[2]
local answers = {}
for i = 1, #KEYS do
  local key, version, document = KEYS[i], ARGV[2 * i + 1], ARGV[2 * i + 2]
  local held, answer = try('HGET', key, 'v'), 1
  if type(held) == 'table' then
    answer = '!' .. held.err
  elseif held and #held ~= 19 then
    answer = '?' .. held
  elseif held and held > version then
    answer = held
  elseif document ~= '\0' then
    local done = try('HSET', key, 'v', version, 'd', document)
    if type(done) == 'table' then
      answer = '!' .. done.err
    elseif ttl ~= '0' then
      try('PEXPIRE', key, ttl)
    elseif held then
      try('PERSIST', key)
    end
  else
    local done = try('HSET', key, 'v', version)
    if type(done) == 'table' then
      answer = '!' .. done.err
    else
      try('HDEL', key, 'd')
      try('PEXPIRE', key, mark)
    end
  end
  answers[i] = answer
end
return answers
