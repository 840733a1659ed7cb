-- Ends tasks that others put into our queues: their rows were offered (d), or they cannot be read (b).
-- ARGV[3…] per task: d or b, lane's number, id, its unique lock's key or empty, reason

for i = 3, #ARGV, 5 do
    local kind, lane, id, lock, reason = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    redis.call('ZREM', P[lane] .. 'lease', id)
    if redis.call('LREM', P[lane] .. 'active', -1, id) == 1 then
        tally(lane, 'processed', 1)
        if kind == 'd' then
            redis.call('DEL', task(lane, id))
            if lock ~= '' and redis.call('GET', lock) == id then redis.call('DEL', lock) end
        else
            tally(lane, 'failed', 1)
            redis.call('ZADD', P[lane] .. 'archived', whole_seconds(now), id)
            redis.call('HSET', task(lane, id), 'state', 'archived')
            append(task(lane, id), failed_fields(1, reason))
        end
    end
end
return 0
