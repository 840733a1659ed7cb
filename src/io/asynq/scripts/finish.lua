-- Ends of runs (J7, J10, K5).
--
-- ARGV[3] prefix of document hashes   ARGV[4] how long they count, ms
-- then per verdict: base, lease, and a kind (d done, x done without counting, or those of `settle`) with what follows it: what
-- to keep of the document, the time of a retry, or the reason of a burial
-- Answers per verdict: 0 the lease is gone, 1 as asked, 3 as asked and a follow-up waits, 2 gave way; with the gen of a job that ended behind it.

local bases, out = {}, {}
for i = 5, #ARGV, 3 do bases[#bases + 1] = ARGV[i] end
load_recs(bases)
local gone, unleased, unborn, processed, failed = {}, {}, {}, {}, {}
for lane = 1, #lanes do
    unleased[lane], unborn[lane], processed[lane], failed[lane] = {}, {}, 0, 0
end

-- Active ids are taken off the list's end, where the oldest lie, many in one command; what was not meant goes back. What
-- lies further in is looked for one by one. `known` are the verdicts whose lease held at the start: their record and job.
local held, missing, known = {}, {}, {}
for lane = 1, #lanes do held[lane], missing[lane] = {}, 0 end
for n, base in ipairs(bases) do
    local rec = recs[base]
    if rec then
        local name, slot, lease, gen = match(rec, '/([^,]*),(%d),(%d+),([^|]*)')
        local lane = lane_of[name]
        if lane and lease == ARGV[n * 3 + 3] then
            local id = base .. '~' .. slot
            held[lane][id] = 0
            missing[lane] = missing[lane] + 1
            known[n] = { rec, lane, slot, gen, id }
        end
    end
end
local POPPED_MAX = 1000
for lane = 1, #lanes do
    local key, ids, left, back, popped = P[lane] .. 'active', held[lane], missing[lane], {}, 0
    local step = left
    while left > 0 and (popped == 0 or left > 4) and popped < POPPED_MAX do
        local off = call('RPOP', key, step) or {}
        for _, id in ipairs(off) do
            if ids[id] == 0 then
                ids[id], left = 1, left - 1
            else
                back[#back + 1] = id
            end
        end
        if #off < step then break end
        popped, step = popped + #off, step * 2
    end
    local again, last = {}, #back
    for i = 1, last do again[i] = back[last + 1 - i] end
    batched('RPUSH', key, again)
end
local function deactivate(lane, id)
    if held[lane][id] == 1 then return true end
    return call('LREM', P[lane] .. 'active', -1, id) > 0
end

for n, base in ipairs(bases) do
    local kind = ARGV[n * 3 + 4]
    local more = ''
    if #kind > 1 then kind, more = text_sub(kind, 1, 1), text_sub(kind, 2) end
    local rec = recs[base]
    local waiting, _, lane, slot, gen, load, id
    -- An earlier verdict of this call may have ended the same job.
    local own = known[n]
    if own and own[1] == rec then
        lane, slot, gen, id = own[2], own[3], own[4], own[5]
        if kind ~= 'd' or byte(rec, 1) ~= 47 then
            local active
            waiting, active = halves(rec)
            _, _, _, _, load = parts(active)
        end
    end
    if not id then
        out[n] = '0'
    elseif not deactivate(lane, id) then
        -- Somebody else ended it: asynq's recoverer put it among the retries, or a person deleted it.
        if not load then load = select(5, parts(text_sub(rec, 2))) end
        local state = state_of(lane, id)
        if UNSTARTED[state] and not waiting then
            set_rec(base, half(lane, slot, state == 'pending' and 'p' or 'r' .. whole(now), gen, load), nil)
        else
            set_rec(base, waiting, nil)
        end
        out[n] = '0'
    else
        unleased[lane][#unleased[lane] + 1] = id
        if kind ~= 'q' and kind ~= 'c' and kind ~= 'x' then
            processed[lane] = processed[lane] + 1
            if kind ~= 'd' then failed[lane] = failed[lane] + 1 end
        end
        if kind == 'd' or kind == 'x' then
            gone[#gone + 1] = task(lane, id)
            unborn[lane][#unborn[lane] + 1] = id
            if waiting then
                local w_lane, w_slot, hold, w_gen, w_load = parts(waiting)
                local w_id = id_of(base, w_slot)
                if hold == 'd' and w_lane and redis.call('ZREM', P[w_lane] .. 'scheduled', w_id) == 1 then
                    hook_pending(w_lane, w_id, true)
                    waiting = half(w_lane, w_slot, 'p', w_gen, w_load)
                end
            end
            set_rec(base, waiting, nil)
            -- 3: its follow-up may start now.
            out[n] = (waiting and '3' or '1') .. gen
            if more ~= '' then
                redis.call('SET', ARGV[3] .. base, whole(now + ARGV[4]) .. ',' .. more, 'PX', ARGV[4])
            end
        else
            local settled = settle(base, waiting, lane, slot, gen, load, kind, tonumber(more), kind == 'b' and more or 'tried again')
            out[n] = settled .. (kind == 'b' and settled == 1 and gen or '')
        end
    end
end
for lane = 1, #lanes do
    batched('ZREM', P[lane] .. 'lease', unleased[lane])
    batched('ZREM', firsts(lane), unborn[lane])
    tally(lane, 'processed', processed[lane])
    tally(lane, 'failed', failed[lane])
end
for from = 1, #gone, 1000 do redis.call('DEL', unpack(gone, from, math.min(from + 999, #gone))) end
save_recs()
return out
