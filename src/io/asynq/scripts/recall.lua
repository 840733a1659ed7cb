-- Runs whose workers are known to be dead end as if their leases had ended (J10), and wait again.
-- ARGV[3] leases of one life   ARGV[4…] the first lease of each life that is over
-- Answers how many.

local span, recalled = tonumber(ARGV[3]), 0
local function of_the_dead(lease)
    for i = 4, #ARGV do
        local first = tonumber(ARGV[i])
        if lease >= first and lease < first + span then return true end
    end
    return false
end
for lane = 1, #lanes do
    local ids, bases = redis.call('LRANGE', P[lane] .. 'active', 0, -1), {}
    for i, id in ipairs(ids) do bases[i] = base_of(id) end
    load_recs(bases)
    for i, id in ipairs(ids) do
        local _, active = halves(recs[bases[i]])
        if active then
            local a_lane, a_slot, lease = parts(active)
            local _, slot = base_of(id)
            if a_lane == lane and a_slot == slot and of_the_dead(tonumber(lease)) and recover(lane, id, 'its worker died') then
                recalled = recalled + 1
            end
        end
    end
    if recalled > 0 then promote(lane, 1000) end
end
save_recs()
return recalled
