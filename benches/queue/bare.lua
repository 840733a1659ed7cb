-- What asynq's form asks for of many tasks at once, and nothing else: no task is looked for, none is checked.
-- KEYS: one per queue: `asynq:{queue}:`   ARGV[1] offer, take or finish   ARGV[2] how many to take
-- ARGV[3…] per queue, how many; then of each its id, and its message where it is offered

local call, what, out, at = redis.call, ARGV[1], {}, 3
local time = call('TIME')
local now_ns, lease = time[1] .. string.format('%06d000', time[2]), tostring(time[1] + 30)
local function take(n, queue, count)
    local ids, leases = count > 0 and call('RPOP', KEYS[queue] .. 'pending', count) or {}, {}
    for i = 1, #ids do
        call('HSET', KEYS[queue] .. 't:' .. ids[i], 'state', 'active')
        leases[i * 2 - 1], leases[i * 2] = lease, ids[i]
    end
    if #ids > 0 then
        call('LPUSH', KEYS[queue] .. 'active', unpack(ids))
        call('ZADD', KEYS[queue] .. 'lease', unpack(leases))
        out[#out + 1] = { tostring(queue), ids }
    end
    return n - #ids
end
if what == 'take' then
    local left = tonumber(ARGV[2])
    for queue, share in ipairs({ 0.6, 0.3, 0.1 }) do left = take(left, queue, math.floor(tonumber(ARGV[2]) * share)) end
    for queue = 1, #KEYS do left = take(left, queue, left) end
    return out
end
for queue = 1, #KEYS do
    local own, count, list = KEYS[queue] .. 't:', tonumber(ARGV[at]), {}
    if count > 0 and what == 'offer' then
        for i = 1, count do
            local id = ARGV[at + i * 2 - 1]
            call('HSET', own .. id, 'msg', ARGV[at + i * 2], 'state', 'pending', 'pending_since', now_ns)
            list[i] = id
        end
        call('LPUSH', KEYS[queue] .. 'pending', unpack(list))
        at = at + count * 2
    elseif count > 0 then
        for i = 1, count do list[i] = own .. ARGV[at + i] end
        call('RPOP', KEYS[queue] .. 'active', count)
        call('ZREM', KEYS[queue] .. 'lease', unpack(ARGV, at + 1, at + count))
        call('DEL', unpack(list))
        call('INCRBY', KEYS[queue] .. 'processed', count)
        at = at + count
    end
    at = at + 1
end
return out
