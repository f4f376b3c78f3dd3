do $$ begin
    alter table records alter payload set compression default;
    for remainder in 0..7 loop
        execute format('alter table records_%s alter payload set compression default', remainder);
    end loop;
end $$;
