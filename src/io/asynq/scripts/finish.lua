-- Ends of runs (J7, J10, K5).
--
-- ARGV[3] prefix of document hashes   ARGV[4] how long they count, ms
-- then per verdict: base, lease, kind (d done, x done without counting, or those of `settle`), time of a retry, reason,
-- what to keep of the document, or empty
-- Answers per verdict: 0 the lease is gone, 1 as asked, 3 as asked and a follow-up waits, 2 gave way; with the gen of a job that ended behind it.

local bases, out = {}, {}
for i = 5, #ARGV, 6 do bases[#bases + 1] = ARGV[i] end
load_recs(bases)
local gone, unleased, unborn, processed, failed = {}, {}, {}, {}, {}
for lane = 1, #lanes do
    unleased[lane], unborn[lane], processed[lane], failed[lane] = {}, {}, 0, 0
end

for n, base in ipairs(bases) do
    local at = 5 + (n - 1) * 6
    local kind, document = ARGV[at + 2], ARGV[at + 5]
    local waiting, active = halves(recs[base])
    local lane, slot, lease, gen, load
    if active then lane, slot, lease, gen, load = parts(active) end
    local id = slot and id_of(base, slot)
    if lease ~= ARGV[at + 1] or not lane then
        out[n] = '0'
    elseif redis.call('LREM', P[lane] .. 'active', -1, id) == 0 then
        -- Somebody else ended it: asynq's recoverer put it among the retries, or a person deleted it.
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
            if document ~= '' then
                redis.call('SET', ARGV[3] .. base, whole(now + ARGV[4]) .. ',' .. document, 'PX', ARGV[4])
            end
        else
            local settled = settle(base, waiting, lane, slot, gen, load, kind, tonumber(ARGV[at + 3]), ARGV[at + 4])
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
