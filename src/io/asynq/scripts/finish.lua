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

for n, base in ipairs(bases) do
    local kind = ARGV[n * 3 + 4]
    local more = string.sub(kind, 2)
    kind = string.sub(kind, 1, 1)
    local rec = recs[base]
    local waiting, active, lane, slot, lease, gen, load
    if rec and string.byte(rec, 1) == 47 and kind == 'd' then
        lane, slot, lease, gen = string.match(rec, '^/([^,]*),(%d),(%d+),([^|]*)')
        lane = lane_of[lane]
    else
        waiting, active = halves(rec)
        if active then lane, slot, lease, gen, load = parts(active) end
    end
    local id = slot and id_of(base, slot)
    if lease ~= ARGV[n * 3 + 3] or not lane then
        out[n] = '0'
    elseif redis.call('LREM', P[lane] .. 'active', -1, id) == 0 then
        -- Somebody else ended it: asynq's recoverer put it among the retries, or a person deleted it.
        if not load then load = select(5, parts(string.sub(rec, 2))) end
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
