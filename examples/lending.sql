-- schema: create the read model. In a service this is a migration, `migrations/0001_read_models.sql`.
create table loans (
    book_id text primary key,
    reader text not null,
    due timestamptz not null,
    overdue boolean not null
);
-- lent: insert a loan. A repeated event finds its row and changes nothing.
insert into loans (book_id, reader, due, overdue) values ($1, $2, $3, false)
on conflict (book_id) do update set reader = excluded.reader, due = excluded.due, overdue = false
-- overdue: mark a loan as overdue.
update loans set overdue = true where book_id = $1
-- returned: delete a loan.
delete from loans where book_id = $1
-- of_reader: read a reader's loans, the next one due first.
select book_id, due, overdue from loans where reader = $1 order by due, book_id
