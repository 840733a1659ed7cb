-- Ends of runs (J7, J10, K5).
--
-- ARGV[3] prefix of document hashes   ARGV[4] how long they count, ms   ARGV[5] the queue's life
-- then verdicts of one lease and kind together: lease, kind, how many, and the bases. Kinds: d done, h done and a hash of the
-- document follows each base, x done without counting, or those of `settle` with the time of a retry or the reason of a burial
-- Answers per verdict: 0 the lease is gone, 1 as asked, 3 as asked and a follow-up waits, 2 gave way; with the gen of a job
-- that ended behind it.

local bases, leases, kinds, hashes, out, all = {}, {}, {}, {}, {}, 0
-- Nearly always all runs of a group end as usual: done in slot 0, nothing waits behind them, never failed, in the order they
-- were taken. Then one command of each kind does. False: not so, and nothing was done.
local function quick_group(lease, first, count)
    if count > 1000 then return false end
    local got = call('HMGET', book, unpack(ARGV, first, first + count - 1))
    local name = got[1] and match(got[1], '^/' .. lease .. '=([^,]*),0,p,|0,')
    local lane = lane_of[name]
    if not lane then return false end
    local runs = '/' .. lease .. '=' .. name .. ',0,p,|0,'
    local from, to = #runs + 1, #runs + 10
    -- Those of one second of first offer lie together, as they were offered.
    local second, same, ends = text_sub(got[1], from, to), 0, {}
    local now_runs = runs .. second
    for i = 1, count do
        local rec = got[i]
        if not rec then return false end
        if find(rec, now_runs, 1, true) ~= 1 then
            if find(rec, runs, 1, true) ~= 1 then return false end
            ends[second] = (ends[second] or 0) + same
            second, same = text_sub(rec, from, to), 0
            now_runs = runs .. second
        end
        same = same + 1
    end
    ends[second] = (ends[second] or 0) + same
    local key = P[lane] .. 'active'
    local popped = call('RPOP', key, count) or {}
    for i = 1, count do
        if popped[i] ~= ARGV[first + i - 1] then
            local again, last = {}, #popped
            for j = 1, last do again[j] = popped[last + 1 - j] end
            batched('RPUSH', key, again)
            return false
        end
    end
    local births, own, keys = births[lane], T[lane], {}
    for i = 1, count do
        keys[i] = own .. popped[i]
        out[all + i] = 1
    end
    for this, ended in pairs(ends) do births[this] = (births[this] or 0) - ended end
    call('ZREM', P[lane] .. 'lease', unpack(popped))
    call('HDEL', book, unpack(popped))
    call('DEL', unpack(keys))
    tally(lane, 'processed', count)
    return true
end
local at = 6
while at <= #ARGV do
    local lease, kind, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local step = kind == 'h' and 2 or 1
    if kind ~= 'd' or not quick_group(lease, at + 3, count) then
        for i = 1, count do
            local n, place = all + i, at + 3 + (i - 1) * step
            bases[#bases + 1] = ARGV[place]
            leases[n], kinds[n] = lease, kind
            out[n] = ARGV[place]
            if step == 2 then hashes[n] = ARGV[place + 1] end
        end
    end
    all = all + count
    at = at + 3 + count * step
end
if #bases == 0 then
    save_recs()
    return out
end
load_recs(bases)
local gone, unleased, processed, failed = {}, {}, {}, {}
local held, missing = {}, {}
for lane = 1, #lanes do
    unleased[lane], processed[lane], failed[lane] = {}, 0, 0
    held[lane], missing[lane] = {}, 0
end

-- Verdicts whose lease holds: `quick` are those of jobs that nothing waits behind, never failed, in slot 0: their lane,
-- and the second of their first offer. `known` are the others: their record, lane, slot and gen.
local quick, known, seconds_of = {}, {}, {}
local last_lease, last_lane, runs
for n, base in ipairs(out) do
    local lease = leases[n]
    -- Without a lease it has been answered above.
    local rec = lease and recs[base]
    if rec then
        if lease ~= last_lease then
            last_lease = lease
            last_lane, runs = nil, '/' .. lease .. '='
        end
        if last_lane and find(rec, runs, 1, true) == 1 then
            held[last_lane][base] = 0
            missing[last_lane] = missing[last_lane] + 1
            quick[n], seconds_of[n] = last_lane, text_sub(rec, #runs + 1, #runs + 10)
        else
            local rec_lease, name, slot, hold, gen = match(rec, '/(%d+)=([^,]*),(%d),([^,]*),([^|]*)')
            local lane = lane_of[name]
            if lane and rec_lease == lease then
                local id = id_of(base, slot)
                held[lane][id] = 0
                missing[lane] = missing[lane] + 1
                known[n] = { rec, lane, slot, gen, id }
                -- A lane's jobs of one taking share their lease, so the next ones very likely begin like this one.
                if not last_lane then last_lane, runs = lane, '/' .. lease .. '=' .. name .. ',0,p,|0,' end
            end
        end
    end
end

-- Active ids are taken off the list's end, where the oldest lie, many in one command; what was not meant goes back. What
-- lies further in is looked for one by one.
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

local function end_run(n, base, lane, slot, gen, id)
    local kind, more = kinds[n], ''
    if #kind > 1 then kind, more = text_sub(kind, 1, 1), text_sub(kind, 2) end
    local waiting, active = halves(recs[base])
    local load = select(5, parts(active))
    if not deactivate(lane, id) then
        -- Somebody else ended it: asynq's recoverer put it among the retries, or a person deleted it.
        local state = state_of(lane, id)
        if UNSTARTED[state] and not waiting then
            set_rec(base, half(lane, slot, state == 'pending' and 'p' or 'r' .. whole(now), gen, load), nil)
        else
            set_rec(base, waiting, nil)
        end
        return '0'
    end
    unleased[lane][#unleased[lane] + 1] = id
    if kind ~= 'q' and kind ~= 'c' and kind ~= 'x' then
        processed[lane] = processed[lane] + 1
        if kind ~= 'd' and kind ~= 'h' then failed[lane] = failed[lane] + 1 end
    end
    if kind == 'd' or kind == 'x' or kind == 'h' then
        gone[#gone + 1] = task(lane, id)
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
        return (waiting and '3' or '1') .. gen
    end
    local settled = settle(base, waiting, lane, slot, gen, load, kind, tonumber(more), kind == 'b' and more or 'tried again')
    return settled .. (kind == 'b' and settled == 1 and gen or '')
end

local documents, counts_until = {}, whole(now + ARGV[4]) .. ',' .. ARGV[5] .. ','
local function settle_one(n, base)
    local lane, answer = quick[n], nil
    local kind = kinds[n]
    if lane and held[lane][base] == 1 and (kind == 'd' or kind == 'h') and recs[base] then
        -- The usual end.
        local own, second = unleased[lane], seconds_of[n]
        births[lane][second] = (births[lane][second] or 0) - 1
        own[#own + 1] = base
        gone[#gone + 1] = T[lane] .. base
        quick_del[#quick_del + 1] = base
        processed[lane] = processed[lane] + 1
        recs[base] = false
        answer = '1'
    elseif lane and recs[base] then
        answer = end_run(n, base, lane, '0', '', base)
    else
        -- An earlier verdict of this call may have ended the same job.
        local own = known[n]
        answer = own and own[1] == recs[base] and end_run(n, base, own[2], own[3], own[4], own[5]) or '0'
    end
    out[n] = answer
    if kind == 'h' and answer ~= '0' then
        documents[#documents + 1] = base
        documents[#documents + 1] = counts_until .. hashes[n]
    end
end
for n = 1, all do
    if leases[n] then settle_one(n, out[n]) end
end
for lane = 1, #lanes do
    batched('ZREM', P[lane] .. 'lease', unleased[lane])
    tally(lane, 'processed', processed[lane])
    tally(lane, 'failed', failed[lane])
end
for from = 1, #gone, 1000 do redis.call('DEL', unpack(gone, from, math.min(from + 999, #gone))) end
if #documents > 0 then
    -- The period's hash outlives all that lies in it.
    local key = ARGV[3] .. whole(math.floor(now / ARGV[4]))
    batched('HSET', key, documents)
    call('PEXPIRE', key, ARGV[4] * 2)
end
save_recs()
return out
