-- Buried jobs go back to their lanes. ARGV[3] jobs a lane takes   ARGV[4] one digit per lane: 1 = it spills
-- ARGV[5] how many   ARGV[6] one base, or empty: all
-- Answers: how many went back, those whose lane is full (base, lane's number, load), how many were looked at.

local max = tonumber(ARGV[3])
local released, spilled, seen = 0, {}, 0
local function release(lane, id)
    local base, slot = base_of(id)
    load_recs({ base })
    local waiting, active = halves(recs[base])
    local w_lane, w_slot, _, load
    if waiting then w_lane, w_slot, _, _, load = parts(waiting) end
    if w_lane ~= lane or w_slot ~= slot then
        -- Not one of ours: as asynq's own tools run an archived task again.
        redis.call('ZREM', P[lane] .. 'archived', id)
        if redis.call('EXISTS', task(lane, id)) == 1 then
            hook_pending(lane, id, false)
            released = released + 1
        end
        return
    end
    load = with_flag(with_attempts(load, 0), 2)
    if string.sub(ARGV[4], lane, lane) == '1' or pending_of(lane) >= max then
        spilled[#spilled + 1] = { base, lane, load }
        return
    end
    redis.call('ZREM', P[lane] .. 'archived', id)
    if redis.call('EXISTS', task(lane, id)) == 0 then return set_rec(base, nil, active) end
    hook_pending(lane, id, false)
    append(task(lane, id), '\48' .. varint(0))
    set_rec(base, half(lane, slot, 'p', '', load), active)
    released = released + 1
end
if ARGV[6] ~= '' then
    load_recs({ ARGV[6] })
    local waiting = halves(recs[ARGV[6]])
    if waiting then
        local lane, slot = parts(waiting)
        local id = id_of(ARGV[6], slot)
        if state_of(lane, id) == 'archived' then release(lane, id) end
    end
else
    for lane = 1, #lanes do
        for _, id in ipairs(redis.call('ZRANGE', P[lane] .. 'archived', 0, tonumber(ARGV[5]) - 1)) do
            seen = seen + 1
            release(lane, id)
        end
    end
end
save_recs()
return { released, spilled, seen }
